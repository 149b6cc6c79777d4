"""Scores behind a record, read with the sign of calibration: NaN is the least member-like score of either sign."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.reports.figures import roc
from leakbench.reports.reading.scores import load_scores
from leakbench.results.record import Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nan_is_the_least_member_like(tmp_path, sign):
    record = Record(
        suite="s",
        dataset="d",
        model="m",
        defense="baseline",
        point="baseline",
        defense_params={},
        attack="loss",
        family="membership",
        access="DENOISER",
        seed=0,
        metrics=[],
        info={"orientation": sign},
    )
    arrays = {"member_scores": sign * np.array([3.0, np.nan, 2.0]), "nonmember_scores": sign * np.array([1.0, 0.0])}
    run = RunFolder(tmp_path)
    record = save_record(tmp_path, record, arrays)
    member, nonmember = load_scores(run, record)
    assert member[[0, 2]].tolist() == [3.0, 2.0] and member[1] < nonmember.min()
    curve = roc._curve(run, "baseline", record).roc
    assert curve.at_fpr(0.0).tpr == pytest.approx(2 / 3)  # two of three members lie above every nonmember
