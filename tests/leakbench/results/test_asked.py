"""What should be on record where attacks are asked about persons: a record that is not there is missed everywhere."""

from __future__ import annotations

import shutil

from leakbench.reports.claims.asked import list_unrecorded
from leakbench.reports.claims.claim import Claim
from leakbench.reports.claims.diff_missing import list_missing_records
from leakbench.reports.reading.unmeasured import list_unmeasured
from leakbench.reports.site.leaderboard.missing import list_missing
from leakbench.results.asked import list_asked
from leakbench.results.run_folder import RunFolder


def test_a_record_of_persons_that_is_not_there_is_missed(asked_of_people, tmp_path):
    shutil.copytree(asked_of_people[0], tmp_path / "run")
    whole = RunFolder(asked_of_people[0])
    (baseline,) = (point for point in whole.plan.points if point.name == "baseline")
    assert {"loss", "loss@person", "loss@identity", "nearest_copy"} <= {*list_asked(whole, baseline)}
    assert "nearest_copy@person" not in list_asked(whole, baseline)
    claim = Claim(name="c", defense="baseline", attack="strongest", access="DENOISER", metric="auc", at_most=0.9)
    assert list_unmeasured(whole) == [] and list_missing(whole, baseline, "DENOISER") == []
    assert list_missing_records(whole, whole) == [] and list_unrecorded(whole, claim, baseline) == []
    for access in ("DENOISER", "WEIGHTS"):
        (path,) = (tmp_path / "run" / "records").glob(f"baseline__loss_person__{access}*")
        path.unlink()
    run = RunFolder(tmp_path / "run")
    assert list_unmeasured(run) == ["loss@person at baseline"]
    assert list_missing(run, baseline, "DENOISER") == ["loss@person"]
    assert list_missing_records(whole, run) == [
        f"loss@person ({a}) at baseline seed 0" for a in ("DENOISER", "WEIGHTS")
    ]
    assert list_unrecorded(run, claim, baseline) == ["loss@person"]
