"""Measures what a suite asks for by `quality.measures`, beside what every quality record holds."""

from __future__ import annotations

from torch import Tensor

from leakbench.measurement.audit_context import AuditContext
from leakbench.metrics.evaluate.asked_quality import MEASURES, evaluate_asked_quality
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.utility import FEWEST
from leakbench.results.flags import Flag

_UTILITY = "utility"


def measure_asked_quality(context: AuditContext, features: Tensor) -> MetricSet:
    """What the suite asks for of a release, from its samples' features (N, D) and, for utility, from its samples."""
    asked, extractor = context.inputs.suite.file.quality.measures, context.extractor
    names = [name for name in asked if name in MEASURES]
    found = MetricSet([])
    if names:
        found = evaluate_asked_quality(names, features, extractor.train, extractor.heldout)
    return found.joined(_measure_utility(context)) if _UTILITY in asked and context.condition == "label" else found


def _measure_utility(context: AuditContext) -> MetricSet:
    inputs = context.inputs
    count = min(len(context.samples), len(inputs.split.train))  # real images that may teach as much as samples do
    if count < FEWEST:
        return MetricSet([], {Flag.TOO_FEW_IMAGES.value})
    assert context.requested_labels is not None
    samples, labels = context.samples.to(inputs.device), context.requested_labels.to(inputs.device)
    found = context.extractor.utility(samples, labels, inputs.streams(context.seed).of("utility"))
    return MetricSet([metric("utility", found), metric("utility_real", context.extractor.real_utility(count))])
