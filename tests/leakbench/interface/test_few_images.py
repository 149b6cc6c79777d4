"""Audits of few images: five members of an over-fitted pipeline are found, an untrained one leaks nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import leakbench as lb
from leakbench.data.member_folders import sides
from leakbench.interface.in_memory import locate_images
from leakbench.reports.sections.section import render_section
from leakbench.reports.tables.findings_csv import list_verdict_rows
from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import ExactFamily, auc

SETTINGS = {"quality.samples": 20, "quality.features": "pixels", "sampler.steps": 5, "sampler.batch": 64}
ATTACKS = ["loss", "pia", "sima"]


@pytest.fixture(scope="module")
def digits():
    """Digits in random order, uint8 (1797, 8, 8)."""
    levels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    return levels[np.random.default_rng(0).permutation(len(levels))]


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory):
    from leakbench.runner import run_log

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(run_log, "FORMATS", ("csv",))
        yield tmp_path_factory.mktemp("room")


def overfit(pipeline, images, steps=150):
    """Train a pipeline on a handful of images (N, 8, 8) until it knows them."""
    x0, network, schedule = torch.from_numpy(images)[:, None] / 127.5 - 1, pipeline.unet, pipeline.scheduler
    adam = torch.optim.Adam(network.parameters(), 5e-3, fused=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(steps):
            clean, t = x0[torch.randint(len(x0), (24,))], torch.randint(1000, (24,))
            noise = torch.randn_like(clean)
            answer = network(schedule.add_noise(clean, noise, t), t).sample
            adam.zero_grad()
            (answer - noise).square().mean().backward()
            adam.step()
    return pipeline


@pytest.fixture(scope="module")
def found(pipelines, digits, room):
    """The audit of a pipeline that was trained on five of 45 digits."""
    model, more = overfit(pipelines.tiny(), digits[:5]), {"settings": SETTINGS, "out": room / "over", "workers": 1}
    return lb.audit(model, digits[:5], digits[5:45], attacks=["blind", *ATTACKS, "nearest_copy"], **more)


def test_five_members_of_an_overfitted_pipeline_are_found(found, room):
    rows = [row for row in list_verdict_rows(RunFolder(room / "over")) if row["point"] == "model"]
    by_answers = next(row for row in rows if "DENOISER" in row["access"])
    assert by_answers["kind"] == "leaks" and "exact p = " in by_answers["verdict"]
    assert "5 members and 28 nonmembers" in by_answers["verdict"]
    strongest = max((r for r in RunFolder(room / "over").records if r.point == "model"), key=lambda r: strength(r))
    assert strongest.info["exact_p_value"] < 0.01 and strongest.info["orientation"] == 1


def strength(record):
    metric = record.metric("auc")
    return metric.value if metric is not None and record.access != "NONE" else 0.0


def test_nothing_is_spared_for_calibration_and_the_report_says_so(found, room):
    plan = json.loads((room / "over" / "plan.json").read_text())
    parts = {part: plan["split"][part] for part in ("member", "nonmember", "reference")}
    assert parts == {"member": 5, "nonmember": 28, "reference": 12}
    assert plan["split"]["calibration_in"] == plan["split"]["calibration_out"] == 0
    for record in RunFolder(room / "over").records:
        if record.family == "membership":
            assert Flag.FEW_IMAGES in record.flags and record.metric("calibration_auc") is None
            assert record.info["labels_consumed"] == 0
    report = " ".join(render_section("few_images", RunFolder(room / "over")).split())
    for words in ("## Few images", "would have been found in four of five runs", "1 / (1 + g)", "other photographs"):
        assert words in report


def test_the_blind_baseline_is_judged_by_permuted_sides(found, room):
    run = RunFolder(room / "over")
    blind = next(record for record in run.records if record.attack == "blind")
    arrays = run.arrays(blind)
    assert arrays["permuted_aucs"].shape == (999,) and Flag.TRACK_INVALID not in blind.flags
    assert auc(arrays["member_scores"], arrays["nonmember_scores"]).value == pytest.approx(blind.metric("auc").value)


def test_of_an_untrained_pipeline_five_members_are_said_to_leak_in_five_of_100_draws(pipelines, digits, room):
    """One scoring of 400 digits, of which 5 and 28 are drawn 200 times: size 0.05 within two standard errors."""
    out = room / "untrained"
    lb.audit(pipelines.tiny(), digits[:150], digits[150:550], attacks=ATTACKS, settings=SETTINGS, out=out, workers=1)
    run = RunFolder(out)
    records = [r for r in run.records if r.family == "membership" and r.point == "model" and r.access == "DENOISER"]
    assert len(records) == len(ATTACKS)
    sides_of = [run.arrays(record) for record in records]
    pools = [np.concatenate([a["member_scores"], a["nonmember_scores"]]) for a in sides_of]
    said = 0
    for draw in range(200):
        rows = np.random.default_rng([5, draw]).permutation(len(pools[0]))[:33]
        scores = [(pool[rows[:5]], pool[rows[5:]]) for pool in pools]
        family = ExactFamily(scores)
        said += min(family.correct(auc(*one).value) for one in scores) <= 0.05
    assert said / 200 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(("members", "nonmembers", "few"), [(39, 60, True), (40, 59, True), (40, 60, False)])
def test_forty_members_and_sixty_nonmembers_are_calibrated(members, nonmembers, few):
    rng = np.random.default_rng(0)
    given = {"members": rng.integers(0, 256, (members, 8, 8), dtype=np.uint8)}
    given["nonmembers"] = rng.integers(0, 256, (nonmembers, 8, 8), dtype=np.uint8)
    named = locate_images(given)
    data = sides("&".join(f"{side}=npz:{path}" for side, path in named.items()))
    words = set(data.split.tolist())
    assert data.few == few and ("calibration_in" in words, "calibration_out" in words) == (not few, not few)


@pytest.mark.parametrize(
    ("members", "nonmembers", "said"),
    [
        (2, 40, "members.*: 2 images, and at least 3 are needed"),
        (5, 9, "nonmembers.*: 9 images, and at least 10 are needed"),
    ],
)
def test_too_few_even_for_exact_tests_are_refused_in_one_line(pipelines, digits, members, nonmembers, said):
    with pytest.raises(lb.UsageError, match=said):
        lb.audit(pipelines.tiny(), digits[:members], digits[50 : 50 + nonmembers], settings=SETTINGS)


def test_an_attack_that_learns_is_refused_by_name_and_left_out_of_sets(pipelines, digits):
    with pytest.raises(lb.UsageError, match="--attacks cdi: learns from images whose membership is known"):
        lb.audit(pipelines.tiny(), digits[:5], digits[5:45], attacks="cdi", settings=SETTINGS)
