"""All attacks on a release corrected together: by hand, and what must never happen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from leakbench.reports.reading.family import find_corrected
from leakbench.reports.reading.leakage import collect_leak
from leakbench.reports.reading.points import measured_levels
from leakbench.reports.reading.scores import load_scores
from leakbench.reports.reading.shown import ShownRun
from leakbench.reports.reading.strongest import strongest, strongest_by_rate
from leakbench.reports.reading.verdicts import leak_kind
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc, tpr_at_fpr


def measured(run, point="baseline", seed=0):
    own = [r for r in run.records if r.family == "membership" and r.metrics]
    return [r for r in own if (r.point, r.seed) == (point, seed) and r.access != "NONE"]


def test_intervals_are_those_of_one_level_for_the_whole_release(army):
    records = measured(army)
    found = [find_corrected(army, record) for record in records]
    (level,) = {one.level for one in found}
    count = len({record.arrays for record in records})
    assert 0.95 < level < 1 - 0.05 / (2 * count)  # AUC and TPR of each: sharper than Bonferroni
    for record, one in zip(records, found, strict=True):
        scores = load_scores(army, record)
        assert one.auc == auc(*scores, level=level)
        assert one.tpr == tpr_at_fpr(*scores, 0.1, level).estimate


def test_more_access_never_shows_less(army):
    """At every point and seed, by AUC and by TPR."""
    for point in army.plan.points:
        for less, more in pairwise(measured_levels(army)):
            for choose, bound in ((strongest, "least"), (strongest_by_rate, "least_rate")):
                before, after = choose(army, point, less), choose(army, point, more)
                for seed, record in before.items():
                    lower, higher = (getattr(find_corrected(army, r), bound) for r in (record, after[seed]))
                    assert lower <= higher


def test_a_leak_at_a_lesser_access_stands_at_every_greater_one(army):
    for point in army.plan.points:
        kinds = []
        for level in measured_levels(army):
            records = (choose(army, point, level).values() for choose in (strongest, strongest_by_rate))
            kinds.append(leak_kind(collect_leak(army, *records)))
        if "leaks" in kinds:
            assert set(kinds[kinds.index("leaks") :]) == {"leaks"}


def test_what_never_touches_the_model_is_a_family_of_its_own(army):
    (blind,) = [r for r in army.records if (r.point, r.seed, r.attack) == ("baseline", 0, "blind")]
    assert find_corrected(army, blind).level < min(find_corrected(army, r).level for r in measured(army))
    assert all(
        r.access != "NONE"
        for level in measured_levels(army)
        for r in strongest(army, army.plan.points[0], level).values()
    )


def test_a_part_that_is_shown_is_corrected_for_all_that_was_run(army):
    part = ShownRun(army, attacks=["loss"])
    (record,) = [r for r in measured(part) if r.access == "DENOISER"]
    assert find_corrected(part, record) == find_corrected(army, record)


def test_groups_and_scores_that_were_not_kept(tmp_path, make_run):
    kept = {"loss", "pia"}
    run = make_run(tmp_path, seeds=(0,), keep=lambda r: r.point == "baseline" and r.attack in kept, images=False)
    by_image = {r.attack: find_corrected(run, r) for r in measured(run) if r.access == "DENOISER"}
    people = {f"{side}_groups": np.arange(250) // 5 + first for side, first in (("member", 0), ("nonmember", 50))}
    for record in measured(run):
        gone = record.attack == "pia"
        arrays = run.arrays(record) | people
        save_record(tmp_path, record.model_copy(update={"arrays": ""}) if gone else record, {} if gone else arrays)
    again = RunFolder(tmp_path)
    found = {r.attack: find_corrected(again, r) for r in measured(again) if r.access == "DENOISER"}
    assert found["loss"].auc.groups == 50 and found["loss"].p_value is not None
    assert found["pia"].p_value is None and not found["pia"].judges
    own = next(r.metric("auc") for r in measured(again) if r.attack == "pia")
    ratio = (found["pia"].auc.high - own.value) / (own.ci_high - own.value)
    assert ratio == pytest.approx((own.value - found["pia"].auc.low) / (own.value - own.ci_low)) and 1 < ratio < 1.4
    assert by_image["pia"].auc.value == found["pia"].auc.value
