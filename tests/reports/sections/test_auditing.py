"""Audits are told as bounds: beside the claim, with the ceiling, and every seed's own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from leakbench.api import CanaryEvidence
from leakbench.metrics.evaluate.auditing import evaluate_auditing
from leakbench.reports.reading.auditing import list_audits
from leakbench.reports.sections.auditing import elsewhere, format_audits, verdicts
from leakbench.reports.sections.flags import list_raised_flags
from leakbench.reports.site.report import render
from leakbench.results.guarantee import Guarantee
from leakbench.results.record import Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import epsilon_one_run

SHARE, DELTA = 0.25, 1e-5
# how far included canaries lie from the others, and the epsilon that is claimed
POINTS = {
    "baseline": ("baseline", 1.5, None),
    "dp_sgd epsilon=0.1": ("defense", 3.0, 0.1),
    "dp_sgd epsilon=8": ("defense", 0.3, 8.0),
}
STEPS = {"dp_sgd epsilon=8": {"adjacency": "zero-out", "history": [[3.0, 0.25, 400]]}}


def evidence(shift, seed, canaries=400):
    draw = np.random.default_rng([seed, round(10 * shift)])
    included = draw.random(canaries) < 0.5
    return CanaryEvidence(draw.normal(shift * included, 1.0), included)


def write(path, seeds=(0, 1), target=None, steps=STEPS):
    plan = [{"point": name, "defense": name.split()[0], "role": role} for name, (role, *_) in POINTS.items()]
    path.mkdir(parents=True, exist_ok=True)
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": list(seeds), "points": plan}))
    for name, (_, shift, claimed) in POINTS.items():
        claims = {} if claimed is None else {"epsilon": claimed, "delta": DELTA, **steps.get(name, {})}
        for seed in seeds:
            told = evaluate_auditing(evidence(shift, seed), SHARE, DELTA, Guarantee.from_json(claims))
            told.info |= {"canary_guarantee": claims, "target_guarantee": claims if target is None else target}
            for access in ("DENOISER", "WEIGHTS"):
                record = Record(
                    **{"suite": "told", "dataset": "digits", "model": "mlp", "defense": name.split()[0], "point": name},
                    **{"attack": "canary_one_run", "family": "auditing", "access": access, "seed": seed},
                    **{"metrics": told.metrics, "info": told.info, "defense_params": {}, "flags": sorted(told.flags)},
                )
                save_record(path, record, {"scores": evidence(shift, seed).scores})
    return RunFolder(path)


def test_bounds_by_person_stand_beside_what_is_stated_of_a_person(tmp_path):
    run = write(tmp_path)
    for record in run.records:
        stated = record.info["canary_guarantee"]
        by_group = {} if not stated else {"unit": "image", "group_size": 5, "epsilon_by_group": 9 * stated["epsilon"]}
        info = record.info | {"unit": "group", "canary_guarantee": stated | by_group}
        save_record(tmp_path, record.model_copy(update={"info": info, "flags": []}), run.arrays(record))
    found = list_audits(RunFolder(tmp_path))
    assert {audit.point.name: audit.stated for audit in found}["dp_sgd epsilon=8"] == [72.0]
    titles, cells = format_audits(found)
    assert {row[titles.index("unit")] for row in cells} == {"group"}
    assert any("the bound is" in words and "by group" in words for words in verdicts(found))
    assert "all images of a person had one coin" in " ".join(render(RunFolder(tmp_path)).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write(tmp_path_factory.mktemp("auditing"))


def one_run(right):
    """The bound of one direction of two."""
    return epsilon_one_run(400, 100, right, DELTA, 0.975)


def test_a_row_a_point_with_every_seeds_own_bound(run):
    titles, cells = format_audits(list_audits(run))
    assert [row[:3] for row in cells] == [[name, "canary_one_run", "DENOISER"] for name in POINTS]
    row = dict(zip(titles, cells[2], strict=True))
    records = [r for r in run.records if (r.point, r.access) == ("dp_sgd epsilon=8", "DENOISER")]
    bounds = [one_run(max(r.info["right"], 100 - r.info["right"])) for r in records]
    assert row["lower bound, one run"] == " / ".join(f"{bound.value:.2f}" for bound in bounds)
    assert row["its ceiling"] == f"{bounds[0].ceiling:.2f}"  # alike at both seeds
    assert row["guesses right"] == " / ".join(f"{r.info['right']} of 100" for r in records)
    assert (row["epsilon stated"], row["adjacency"], row["delta"]) == ("8", "zero-out", "1e-05")
    sharper = [[r.metric(f"epsilon_{kind}_f_dp").value for r in records] for kind in ("lower", "ceiling")]
    assert row["lower bound, f-DP (ceiling)"] == (
        f"{' / '.join(f'{value:.2f}' for value in sharper[0])} ({sharper[1][0]:.2f})"
    )
    assert dict(zip(titles, cells[1], strict=True))["lower bound, f-DP (ceiling)"] == "-"  # no steps are stated
    assert dict(zip(titles, cells[0], strict=True))["epsilon stated"] == "-"


def test_the_verdicts_claim_no_more_than_the_bound(run):
    free, exceeded, kept = verdicts(list_audits(run))
    assert (
        "no guarantee is stated; the bound is" in free
        and "at no smaller epsilon, with that delta, is this training private" in free
    )
    assert "exceeds the stated epsilon at 2 seeds of 2 (0 and 1); where a guarantee holds" in exceeded
    assert "this happens in 1 of 20 trainings at most" in exceeded
    (ceiling,) = {r.metric("epsilon_ceiling_f_dp").value for r in run.records if r.point == "dp_sgd epsilon=8"}
    assert ceiling > one_run(100).ceiling
    assert (
        "does not refute the guarantee" in kept
        and f"would have shown {ceiling:.2f}, not above the stated epsilon" in kept
    )
    assert "could not have refuted it" in kept  # so many guesses never reach 8


def test_exceeded_claims_are_flagged_and_explained(run):
    (flag,) = [flag for flag in list_raised_flags(run) if flag.name == "epsilon-above-guarantee"]
    assert flag.records == 4 and "above the stated epsilon" in flag.meaning


def test_the_section(run):
    text = render(run).split("## Auditing\n")[1].split("\n## ")[0]
    assert text.count("\n|---|") == 1 and "\n\n\n\n" not in text
    assert "in whichever direction" in text and "if the training's trade-off curve is that of DP-SGD" in text
    assert "heuristic" in text and "does not prove a guarantee" in text
    assert "states another guarantee" not in text


def test_a_release_that_claims_something_else_is_named(tmp_path):
    run = write(tmp_path, seeds=(0,), steps={}, target={"void": "a later step reads members"})
    assert elsewhere(list_audits(run)) == ["dp_sgd epsilon=0.1", "dp_sgd epsilon=8"]
    assert "than the release at dp_sgd epsilon=0.1 and dp_sgd epsilon=8: there the bound" in " ".join(
        render(run).split()
    )


def test_many_seeds_are_told_by_the_least_and_the_largest(tmp_path):
    run = write(tmp_path, seeds=(0, 1, 2, 3), steps={})
    titles, cells = format_audits(list_audits(run))
    values = [r.metric("epsilon_lower").value for r in run.records if (r.point, r.access) == ("baseline", "WEIGHTS")]
    row = dict(zip(titles, cells[0], strict=True))
    assert row["lower bound, one run"] == f"{min(values):.2f} to {max(values):.2f}"


def test_no_section_without_audits(tmp_path, tell_run):
    run = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline"}])
    assert "## Auditing" not in render(run)
