"""Copies are the first of a release's verdicts, and a control's AUC is read as everywhere."""

from __future__ import annotations

import re

import numpy as np
import pytest

from leakbench.reports.reading.controls import list_controls
from leakbench.reports.reading.copying import find_copies
from leakbench.reports.reading.verdicts import list_membership_verdicts, list_verdicts
from leakbench.reports.site.report import render
from leakbench.reports.tables.terminal import format_short
from leakbench.results.record import Metric

HALF = {"copy_rate": (0.51, 0.47, 0.55), "copy_rate_null": (0.01, 0.0, 0.03), "copy_rate_excess": (0.5, 0.45, 0.54)}
NONE = HALF | {"copy_rate": (0.015, 0.0, 0.03), "copy_rate_excess": (0.005, -0.02, 0.03)}


@pytest.fixture
def samples_alone(tmp_path, make_run):
    """A run to which nothing but samples was given, with copies as `found` says."""

    def make(found):
        def change(record):
            if record.family != "replication":
                return record.model_copy(update={"access": "SAMPLES"}) if record.family == "membership" else record
            metrics = [Metric(name=n, value=v, ci_low=low, ci_high=high, n=600) for n, (v, low, high) in found.items()]
            return record.model_copy(update={"metrics": metrics})

        return make_run(
            tmp_path,
            seeds=(0,),
            images=False,
            keep=lambda r: r.point in ("baseline", "untrained") and r.access in ("SAMPLES", "DENOISER"),
            change=change,
        )

    return make


def test_the_verdict_on_planted_copies_begins_with_them(samples_alone):
    run = samples_alone(HALF)
    baseline, control = (p for p in run.plan.points if p.name in ("baseline", "untrained"))
    first, *others = list_verdicts(run, baseline)
    assert first.kind == "copies" and first.levels == ["SAMPLES"] and others == list_membership_verdicts(run, baseline)
    assert first.words.startswith("copies training images: 50.0 % [45.0, 54.0] of its samples, beyond chance; 51.0 %")
    verdicts = render(run).split("## Verdicts\n")[1]
    assert verdicts.index("copies training images") < verdicts.index("AUC")
    assert find_copies(run, control) is not None and list_verdicts(run, control)[0].kind == "control"
    text = " ".join(" ".join(format_short(run, 80)).split())
    assert "baseline, SAMPLES: copies training images: 50.0 % [45.0, 54.0] of its samples" in text


def test_without_copies_beyond_chance_nothing_is_said_of_them(samples_alone):
    run = samples_alone(NONE)
    assert find_copies(run, run.plan.points[0]) is None
    assert all(one.kind != "copies" for point in run.plan.points for one in list_verdicts(run, point))


def test_controls_and_tables_read_an_auc_with_one_sign(tmp_path, make_run):
    """Turned by the calibration images everywhere: the AUC of a control is that of its row in the trade-off."""

    def turned(record):
        if record.family != "membership" or record.point != "untrained":
            return record
        return record.model_copy(update={"info": record.info | {"orientation": -1.0}})

    run = make_run(tmp_path, seeds=(0,), images=False, change=turned)
    record = next(r for r in run.records if r.point == "untrained" and r.attack == "pia")
    arrays = run.arrays(record)
    member, nonmember = arrays["member_scores"], arrays["nonmember_scores"]
    raw = np.mean(member[:, None] > nonmember[None, :])
    (control,) = [one for one in list_controls(run) if one.what.startswith("pia on untrained")]
    assert control.auc.value == pytest.approx(1 - raw) and control.behaves
    verdict = next(one for one in list_verdicts(run, run.plan.points[-1]))
    shown = re.search(r"AUC (\d\.\d\d)", verdict.words)[1]
    same = next(one for one in list_controls(run) if one.what.startswith(f"{verdict.attack} on untrained"))
    assert shown == f"{same.auc.value:.2f}"
