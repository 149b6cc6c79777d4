"""Metrics, flags and facts that go into a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leakbench.results.record import Metric
from leakbench.statistics import Estimate


@dataclass
class MetricSet:
    """Metrics, flags, the FPR that each TPR was realised at, and JSON-able facts."""

    metrics: list[Metric]
    flags: set[str] = field(default_factory=set)
    realised_fpr: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def joined(self, other: MetricSet) -> MetricSet:
        """Join two sets into a third; facts of `other` win."""
        return MetricSet(
            self.metrics + other.metrics,
            self.flags | other.flags,
            self.realised_fpr | other.realised_fpr,
            self.info | other.info,
        )


def metric(name: str, estimate: Estimate) -> Metric:
    """Name an estimate."""
    return Metric(
        name=name,
        value=estimate.value,
        ci_low=estimate.low,
        ci_high=estimate.high,
        n=estimate.n,
        n_groups=estimate.groups,
    )
