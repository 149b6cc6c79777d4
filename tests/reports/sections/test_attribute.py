"""What attacks on the attribute read, of samples, members and pairs, each beside its own null."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from leakbench.api import AttributeEvidence
from leakbench.metrics.evaluate.attribute import evaluate_attribute
from leakbench.reports.sections.attribute import (
    adaptive_findings,
    format_attribute_results,
    list_attribute_results,
    verdicts,
)
from leakbench.reports.site.report import render
from leakbench.results.record import Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import contrast, holm

# how far attribute 1 lies from 0: in samples, in members beyond never-seen images, in pairs
POINTS = {
    "baseline-attribute": ("baseline", 2.5, 1.0, None),
    "attribute_switching tau=50": ("defense", 0.0, 0.0, 2.0),
    "attribute_switching tau=85": ("defense", 0.0, 0.0, 0.0),
}
ATTACKS = {
    "adaptive_switching": ("pairs", "API"),
    "attribute_member": ("images", "DENOISER"),
    "attribute_output": ("samples", "SAMPLES"),
}


def evidence(point, attack, seed):
    draw = np.random.default_rng([zlib.crc32(word.encode()) for word in (point, attack)] + [seed + 10])
    of = ATTACKS[attack][0]
    shift = dict(zip(("samples", "images", "pairs"), POINTS[point][1:], strict=True))[of]
    if shift is None:
        return None
    null = {"samples": 2.5, "images": 0.4, "pairs": 0.0}[of]
    nulls = [draw.normal(null, 1, 200), draw.normal(0, 1, 200)] if of != "pairs" else [np.empty(0), np.empty(0)]
    base = null if of == "images" else 0.0
    return AttributeEvidence(draw.normal(base + shift, 1, 200), draw.normal(0, 1, 200), *nulls)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("attribute")
    plan = [{"point": name, "defense": name.split()[0], "role": role} for name, (role, *_) in POINTS.items()]
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": [0, 1], "points": plan}))
    for name in POINTS:
        for attack, (of, access) in ATTACKS.items():
            for seed in (0, 1):
                found = evidence(name, attack, seed)
                told = None if found is None else evaluate_attribute(found, balanced=of == "samples")
                record = Record(
                    **{"suite": "told", "dataset": "digits", "model": "mlp", "defense": name.split()[0], "point": name},
                    **{
                        "attack": attack,
                        "adaptive": attack.startswith("adaptive_"),
                        "family": "attribute",
                        "access": access,
                        "seed": seed,
                        "defense_params": {},
                    },
                    metrics=told.metrics if told else [],
                    info=told.info | {"of": of} if told else {},
                    flags=sorted(told.flags) if told else ["not-applicable"],
                )
                save_record(path, record, {"one": found.one} if found else {})
    return RunFolder(path)


def test_a_row_an_attack_that_applies(run):
    titles, cells = format_attribute_results(list_attribute_results(run))
    assert [row[:2] for row in cells[:2]] == [
        ["baseline-attribute", "attribute_member"],
        ["baseline-attribute", "attribute_output"],
    ]
    assert len(cells) == 8
    row = dict(zip(titles, cells[1], strict=True))
    assert row["of"] == "samples" and row["asked for it"] == "50.0 %"
    assert dict(zip(titles, cells[2], strict=True))["of the null"] == "-"  # pairs


def test_p_values_are_adjusted_over_the_run(run):
    raw = []
    for name in POINTS:
        for attack in ("attribute_member", "attribute_output"):
            sides = [evidence(name, attack, seed) for seed in (0, 1)]
            raw.append(max(contrast([(e.one, e.zero), (e.null_one, e.null_zero)]).p_value for e in sides))
    assert [row.p for row in list_attribute_results(run) if row.of != "pairs"] == pytest.approx(holm(raw))


def test_members_are_judged_by_what_lies_beyond_the_others(run):
    pairs, members, samples = sorted(verdicts(list_attribute_results(run)))
    assert members == (
        "**attribute_member** (DENOISER), members: says another thing of members than of others at baseline-attribute; "
        "no more shown of members than of others at attribute_switching tau=50 and attribute_switching tau=85"
    )
    assert "not shown to give it away at attribute_switching tau=50 and attribute_switching tau=85" in samples
    assert (
        "gives it away at attribute_switching tau=50; not shown to give it away at attribute_switching tau=85" in pairs
    )


def test_a_defense_that_falls_to_its_adaptive_attack_is_named(run):
    (said,) = adaptive_findings(list_attribute_results(run))
    assert said.startswith(
        "**attribute_switching tau=50** is defeated by its adaptive attack (adaptive_switching AUC 0.9"
    )
    assert "; attribute_output 0.5" in said


def test_the_section_and_the_fairness_of_samples_are_apart(run, tmp_path, tell_run):
    text = render(run).split("## Attribute inference\n")[1].split("\n## ")[0]
    assert text.count("\n|---|") == 1 and "is defeated by its adaptive attack" in text
    assert "## Fairness" not in render(run)
    other = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline"}])
    assert "## Attribute inference" not in render(other)
