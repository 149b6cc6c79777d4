"""Columns that join the trade-off: quality metrics whose row in METRICS names a column.

The three distances of the trade-off have columns of their own. The others are shown where some quality record holds
them: a metric in features beside the suite's own (`METRIC@features=NAME`), or one that a row was added for.
"""

from __future__ import annotations

from leakbench.results.metric_specs import find_metric, other_features, row_number
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate, aggregate
from .formatting import distance_title, format_metric
from .selection import quality_records
from .tradeoff_axes import DISTANCES


def list_extra_columns(run: RunFolder) -> list[str]:
    """The metrics that have a column beside those that every trade-off has, in the order of METRICS."""
    records = (record for point in run.plan.points for record in quality_records(run, point))
    found = {m.name for r in records for m in r.metrics if find_metric(m.name).column and m.name not in DISTANCES}
    return sorted(found, key=lambda name: (row_number(name), name))


def aggregate_extra_columns(run: RunFolder, point: PlannedPoint) -> dict[str, Aggregate | None]:
    """Values of the extra columns at a point, by metric."""
    return {name: aggregate(quality_records(run, point), name) for name in list_extra_columns(run)}


def column_title(metric: str) -> str:
    """The title of a metric's column."""
    features = other_features(metric)
    return find_metric(metric).column.format(features=features, distance=distance_title(features))


def format_cell(metric: str, value: Aggregate | None) -> str:
    """A cell of a metric's column."""
    return format_metric(metric, value)
