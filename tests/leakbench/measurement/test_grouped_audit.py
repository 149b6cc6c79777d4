"""A data set that says whose each image is: records count persons; one that does not is audited as ever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leakbench.api import Access
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load


@pytest.fixture
def audit(tiny, tmp_path):
    """audit(folder, grouped): of the baseline, on digits, each three neighbours of which are of one person."""

    def make(folder, grouped):
        inputs = RunInputs(load(str(tiny), ()), RunConfig(tmp_path / folder, tmp_path / "cache"))
        if grouped:
            vars(inputs)["data"] = replace(inputs.data, group=np.arange(len(inputs.data.images)) // 3)
        builder = ReleaseBuilder(inputs)
        return ReleaseAudit(AuditContext(builder, FeatureExtractor(inputs), inputs.suite.points[0], 0))

    return make


def test_records_count_the_persons_behind_the_images(audit, tmp_path):
    grouped = audit("grouped", True)
    (record,) = grouped.run([RecordSpec("loss", Access.DENOISER)])
    arrays, split = RunFolder(tmp_path / "grouped").arrays(record), grouped.context.inputs.split
    for name, part in {
        "member_groups": "member",
        "nonmember_groups": "nonmember",
        "calibration_member_groups": "calibration_in",
        "calibration_nonmember_groups": "calibration_out",
    }.items():
        assert np.array_equal(arrays[name], split.parts[part] // 3)
    found = {metric.name: metric for metric in record.metrics}
    persons = [len(np.unique(arrays[f"{side}_groups"])) for side in ("member", "nonmember")]
    assert found["auc"].n == 40 and found["auc"].n_groups == min(persons) < 40
    assert found["tpr@fpr=0.1"].n_groups == persons[0]


def test_without_groups_nothing_is_told_of_any(audit, tmp_path):
    (record,) = audit("plain", False).run([RecordSpec("loss", Access.DENOISER)])
    assert all(metric.n_groups is None for metric in record.metrics)
    arrays = RunFolder(tmp_path / "plain").arrays(record)
    assert not any(name.endswith("_groups") for name in arrays)
