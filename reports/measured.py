"""One number of the trade-off, seed by seed and over the seeds.

Choice of ours: where a record gives no interval, none is made up; the bounds are then NaN and print as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isnan, nan

from leakbench.records import Metric, Record
from leakbench.statistics import Estimate, Summary, over_seeds

_RATES = {"auc", "calibration_auc", "attribute_auc", "balanced_accuracy", "precision", "recall", "forget_probability"}
_RATES |= {"copy_rate", "copy_rate_null"}


@dataclass(frozen=True)
class Measured:
    """A metric's estimate for each seed."""

    metric: str
    by_seed: dict[int, Estimate]

    @property
    def summary(self) -> Summary:
        """Over the seeds; the bounds are NaN where a seed has no interval."""
        return summarise(self.metric, list(self.by_seed.values()))


def measure(records: Iterable[Record], metric: str) -> Measured | None:
    """The metric of one record a seed; None where no record has a value."""
    found = {record.seed: estimate(record.metric(metric)) for record in records}
    values = {seed: value for seed, value in sorted(found.items()) if value is not None}
    return Measured(metric, values) if values else None


def leakage(records: Iterable[Record], metric: str) -> Measured | None:
    """A membership metric with the sign that the calibration images asked for; as it is in records without that."""
    found = list(records)
    return measure(found, f"oriented_{metric}") or measure(found, metric)


def estimate(metric: Metric | None) -> Estimate | None:
    """A metric as an estimate, its bounds NaN where it has none; None where it has no value."""
    if metric is None or metric.value is None:
        return None
    low, high = (nan if bound is None else bound for bound in (metric.ci_low, metric.ci_high))
    return Estimate(metric.value, low, high, metric.n)


def summarise(metric: str, estimates: list[Estimate]) -> Summary:
    """Over the seeds. Raises ValueError without estimates."""
    if not any(isnan(e.low) or isnan(e.high) for e in estimates):
        return over_seeds(estimates, bounds=bounds(metric))
    values = [e.value for e in estimates]
    return Summary(sum(values) / len(values), nan, nan, min(values), max(values), len(values))


def bounds(metric: str) -> tuple[float, float]:
    """The range of a metric, to which its interval over seeds is cut."""
    if metric == "copy_rate_excess":
        return -1.0, 1.0
    if metric.startswith("frechet"):
        return 0.0, inf
    return (0.0, 1.0) if metric in _RATES or metric.startswith("tpr@") else (-inf, inf)
