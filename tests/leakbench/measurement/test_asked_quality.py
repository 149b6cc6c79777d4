"""Measures that a suite asks for: who pays for them, what a record holds, and what cannot be asked."""

from __future__ import annotations

import pytest

from leakbench.measurement.asked_quality import measure_asked_quality
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics import utility
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

SUITE = """
name = "asked"
dataset = "digits"
[split]
members = 100
nonmembers = 100
calibration_in = 20
calibration_out = 20
[network]
width = 16
blocks = 1
condition = "label"
[sampler]
steps = 2
[[defense]]
name = "untrained"
[quality]
samples = 80
features = "pixels"
measures = ["fld", "authenticity", "c_t", "vendi", "utility"]
"""


@pytest.fixture
def context(tmp_path, monkeypatch):
    """context(*overrides): the audit of an untrained network."""
    monkeypatch.setattr(utility, "_STEPS", 20)
    path = tmp_path / "asked.toml"
    path.write_text(SUITE)

    def make(*overrides):
        inputs = RunInputs(load(str(path), overrides), RunConfig(tmp_path / "run", tmp_path / "cache", "cpu", True))
        return AuditContext(ReleaseBuilder(inputs), FeatureExtractor(inputs), inputs.suite.points[0], 0)

    return make


def measured(audit):
    found = measure_asked_quality(audit, audit.extractor(audit.samples))
    return {one.name: one for one in found.metrics}, found


def test_a_suite_that_asks_for_nothing_pays_for_nothing(context):
    audit = context("quality.measures=[]")
    _, found = measured(audit)
    assert (found.metrics, found.flags, found.info) == ([], set(), {}) and not audit.extractor._known


def test_a_release_has_what_was_asked_for_each_with_an_interval(context):
    metrics, _ = measured(context())
    assert {"fld", "fld_gap_excess", "authenticity_excess", "c_t", "vendi", "vendi_real", "utility"} <= set(metrics)
    for one in metrics.values():
        assert one.ci_low <= one.value <= one.ci_high, one.name
    assert metrics["c_t"].ci_low > 0 and metrics["fld"].ci_low > 0  # noise is far from all digits
    assert metrics["utility"].n == 120 and metrics["utility_real"].n == 120
    assert metrics["utility"].value < 0.4 and metrics["fld_gap_excess"].ci_low < 0 < metrics["fld_gap_excess"].ci_high


def test_utility_is_of_networks_that_are_given_labels(context):
    with pytest.raises(UsageError, match=r"quality.measures: 'utility' .* write network.condition = \"label\""):
        check_compatibility(context("network.condition=none").inputs)
    check_compatibility(context().inputs)
    plain = context("network.condition=none", 'quality.measures=["vendi", "utility"]')
    assert set(measured(plain)[0]) == {"vendi", "vendi_real"}
