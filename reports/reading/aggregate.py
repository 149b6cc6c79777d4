"""Aggregation of a metric over the seeds.

Implementation choice: where a record gives no interval, none is made up; the bounds are NaN and print as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan, nan

from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Metric, Record
from leakbench.statistics import Estimate, Summary, fewer_groups, over_seeds


@dataclass(frozen=True)
class Aggregate:
    """A metric's estimate for each seed."""

    metric: str
    by_seed: dict[int, Estimate]

    @property
    def summary(self) -> Summary:
        """Summary over the seeds; the bounds are NaN where a seed has no interval."""
        return summarise(self.metric, list(self.by_seed.values()))

    @property
    def estimate(self) -> Estimate:
        """Mean and interval over the seeds, resting on as many images (or groups) as the seed with the fewest."""
        found, each = self.summary, list(self.by_seed.values())
        exact = each[0].exact if len(each) == 1 else None
        return Estimate(found.mean, found.low, found.high, min(one.n for one in each), fewer_groups(*each), exact)


def aggregate(records: Iterable[Record], metric: str) -> Aggregate | None:
    """Aggregate a metric of one record a seed; None where no record has a value."""
    found = {record.seed: to_estimate(record.metric(metric)) for record in records}
    values = {seed: value for seed, value in sorted(found.items()) if value is not None}
    return Aggregate(metric, values) if values else None


def summarise_metric(found: Aggregate | None) -> Summary | None:
    """Summary over the seeds; None of nothing."""
    return found.summary if found else None


def aggregate_oriented(records: Iterable[Record], metric: str) -> Aggregate | None:
    """Aggregate a membership metric with the sign that calibration asked for; as it is in records without one."""
    found = list(records)
    return aggregate(found, f"oriented_{metric}") or aggregate(found, metric)


def to_estimate(metric: Metric | None) -> Estimate | None:
    """A metric as an estimate, its bounds NaN where it has none; None where it has no value."""
    if metric is None or metric.value is None:
        return None
    low, high = (nan if bound is None else bound for bound in (metric.ci_low, metric.ci_high))
    return Estimate(metric.value, low, high, metric.n, metric.n_groups)


def ratio_of_means(found: Aggregate | None, to: Aggregate | None) -> float | None:
    """Mean over mean, over the seeds that both have; None where they share none, or nothing can be divided by."""
    shared = found.by_seed.keys() & to.by_seed.keys() if found and to else set()
    if not found or not to or not shared:
        return None
    below = sum(to.by_seed[seed].value for seed in shared)
    return sum(found.by_seed[seed].value for seed in shared) / below if below else None


def summarise(metric: str, estimates: list[Estimate]) -> Summary:
    """Summary of one estimate a seed. Raises ValueError without estimates."""
    if not any(isnan(e.low) or isnan(e.high) for e in estimates):
        return over_seeds(estimates, bounds=find_metric(metric).bounds)
    values = [e.value for e in estimates]
    return Summary(sum(values) / len(values), nan, nan, min(values), max(values), len(values))
