"""The attacks of an audit: the set that is the default, sets and names that join, and what a given model rules out."""

import dataclasses

import numpy as np
import pytest

from leakbench.api import Access
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.suite.audit_request.attacks import Reach, build_entries
from leakbench.suite.audit_request.suite import Request, build_audit_suite
from leakbench.suite.ensemble import format_ensemble, read_frozen_attacks
from leakbench.suite.merge import merge_suites


@pytest.fixture
def given(tmp_path):
    """A small DDPM pipeline that diffusers made, and .npz files of its members and nonmembers."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    types = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, block_out_channels=(8, 8), norm_num_groups=4, **types
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "pipeline")
    paths = {"model": tmp_path / "pipeline"}
    for number, (side, count) in enumerate({"members": 50, "nonmembers": 70}.items()):
        images = np.random.default_rng(number).integers(0, 256, (count, 16, 16), dtype=np.uint8)
        paths[side] = tmp_path / f"{side}.npz"
        np.savez(paths[side], images=images)
    return paths


@pytest.fixture
def request_of(given):
    """request_of(**changes): the request of an audit of that pipeline."""
    model = {"name": "pipeline", "path": str(given["model"])}
    sides = {side: f"npz:{given[side]}" for side in ("members", "nonmembers")}
    return lambda **changes: Request("mine", model, **sides, **changes)


@pytest.mark.parametrize("access", [Access.SAMPLES, Access.WEIGHTS])
@pytest.mark.parametrize("choice", ["all", "strongest", "standard"])
def test_chosen_attacks_need_neither_other_models_nor_more_access(choice, access):
    entries = build_entries(choice, Reach(access))
    for entry in entries:
        kind = registry.find("attacks", entry["name"])
        attack = kind(**{key: value for key, value in entry.items() if key not in ("name", "id")})
        assert attack.auxiliary_models() == () and kind.access <= access
    names = {entry["name"] for entry in entries}
    assert {"blind", "gan_leaks", "nearest_copy"} <= names
    assert ("loss" in names) == (access is Access.WEIGHTS)


def test_an_audit_runs_the_standard_set_by_default_and_says_so(request_of):
    """Adaptive attacks of the set join where the defense that they know is asked for."""
    suite, left_out = build_audit_suite(request_of(), ())
    frozen = {entry.get("id", entry["name"]) for entry in read_frozen_attacks("standard", "a test")}
    missing = frozen - set(suite.attacks)
    assert set(suite.attacks) < frozen and all(name.startswith(("adaptive", "shipped")) for name in missing)
    assert not left_out and format_ensemble(suite.file) == "standard 2, as far as it applies"
    guarded, _ = build_audit_suite(request_of(defenses=("cpsample",)), ())
    assert {"adaptive_cpsample", "shipped_classifier"} <= set(guarded.attacks)


def test_names_join_a_set_and_what_stands_twice_is_run_once():
    reach = Reach(Access.WEIGHTS)
    standard = build_entries("standard", reach)
    assert build_entries("standard,loss,cdi", reach) == [*standard, {"name": "cdi"}]
    both = build_entries("standard,strongest", reach)
    assert both[: len(standard)] == standard and {"secmi", "pian"} <= {entry["name"] for entry in both}


SEQUENCES = {
    "more and more": (["loss", "standard", "strongest", "all"], ""),
    "less and less": (["all", "strongest", "standard", "loss"], ""),
    "by name": (["standard", "loss", "standard"], "standard 2, as far as it applies"),
    # neither has all of the other
    "sets": (["loss", "standard", "strongest", "pia"], "standard 2, as far as it applies, and 3 more attacks"),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_audits_that_follow_one_another_join_and_keep_the_name_of_the_larger_set(case, request_of):
    choices, expected = SEQUENCES[case]
    merged, *others = (build_audit_suite(request_of(attacks=choice), ())[0] for choice in choices)
    names = set(merged.attacks)
    for suite in others:
        merged, names = merge_suites(merged, suite), names | set(suite.attacks)
    assert set(merged.attacks) == names and format_ensemble(merged.file) == expected
    assert (merged.attacks["loss"].t, merged.attacks["loss"].draws) == (100, 4)
    alone, _ = build_audit_suite(request_of(attacks=choices[0]), ())
    assert alone.attacks["loss"] == merged.attacks["loss"]


def test_a_defense_is_put_around_an_audited_model_afterwards(request_of):
    plain, _ = build_audit_suite(request_of(), ())
    guarded, _ = build_audit_suite(request_of(attacks="loss", defenses=("cpsample",)), ())
    merged = merge_suites(plain, guarded)
    assert [point.label for point in merged.points] == ["model", "cpsample", "untrained"]
    assert set(merged.attacks) == set(plain.attacks)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dp_sgd", "it trains a network of its own"),
        ("baseline", "it trains a network of its own"),
        ("siss", "it changes the weights of its base"),
        ("attribute_switching", "it needs an attribute-conditional model"),
    ],
)
def test_a_defense_that_cannot_go_around_a_given_model_is_refused_with_those_that_can(name, words):
    """Before anything is looked at: there is no such model."""
    request = Request("mine", {"name": "pipeline", "path": "none"}, "npz:a", "npz:b", defenses=(name,))
    with pytest.raises(UsageError) as refused:
        build_audit_suite(request, ())
    said = str(refused.value)
    assert said.startswith(f"--defense {name}: {words}")
    assert said.endswith(
        "around a given model go amg, cpsample, initial_noise, private_evolution, prompt_adjustment, reject_resample"
    )


def test_a_defense_that_trains_says_its_steps_and_minutes_before_it_starts(given, leakbench, tmp_path):
    """In the plan, and on the standard error of a run; what was loaded has no training time in the results."""
    small = ("sampler.steps=2", "sampler.batch=32", "quality.samples=20", "quality.features=pixels")
    steps = "defense.cpsample.steps=3"
    words = ["audit", given["model"], *(word for one in (*small, steps) for word in ("--set", one))]
    words += ["--members", given["members"], "--nonmembers", given["nonmembers"], "--attacks", "blind", "--workers", 1]
    words += ["--defense", "cpsample", "--out", tmp_path / "run"]
    line = "cpsample trains on the members before anything is measured (steps = 3, batch = 128): about 0.1 minutes"
    assert line in leakbench("audit", *words[1:], "--plan").out
    ran = leakbench(*words)
    assert ran.code == 0 and f"leakbench: {line}; less with --set {steps[:-1]}N" in ran.err
    timed = [row.split(",") for row in (tmp_path / "run" / "timings.csv").read_text().splitlines()]
    assert {point for point, *_, name, _ in timed if name == "train_last"} == {"cpsample", "untrained"}


def test_compute_batches_of_large_images_are_small(request_of, tmp_path):
    for side, batch in {16: 64, 320: 32}.items():
        for number, name in enumerate(("a", "b")):
            images = np.random.default_rng(number).integers(0, 256, (65, side, side, 3), dtype=np.uint8)
            np.savez(tmp_path / f"{name}.npz", images=images)
        given = {"members": f"npz:{tmp_path / 'a.npz'}", "nonmembers": f"npz:{tmp_path / 'b.npz'}"}
        only = {"generated": given["members"], "model": {"name": "given_samples", "images": given["members"]}}
        request = dataclasses.replace(request_of(attacks="blind"), **given, **only)
        exact = "split.duplicate_radius=0"
        assert build_audit_suite(request, (exact,))[0].file.sampler.batch == batch
        assert build_audit_suite(request, (exact, "sampler.batch=7"))[0].file.sampler.batch == 7


def test_a_set_has_what_reads_captions_where_there_are_some():
    words = ["blind_captions", "clid", "clid-other", "prompt_noise"]
    plain = build_entries("standard", Reach(Access.WEIGHTS))
    captioned = build_entries("standard", Reach(Access.WEIGHTS), captioned=True)
    assert captioned[: len(plain)] == plain
    assert [one.get("id", one["name"]) for one in captioned[len(plain) :]] == words
    assert build_entries("loss", Reach(Access.WEIGHTS), captioned=True) == build_entries("loss", Reach(Access.WEIGHTS))
