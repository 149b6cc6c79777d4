"""Comparison of a record with the same record made again, number by number."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isclose
from typing import Any, Final, Literal

from leakbench.results.metric_specs import row_number
from leakbench.results.record import Metric, Record

Outcome = Literal["same", "within tolerance", "differs"]

ROUNDING: Final = 1e-6  # of the value: what sums that are rounded in another order differ by
_OF_THE_MACHINE = {"smaller-batches"}  # flags that say how something was computed


@dataclass(frozen=True)
class ComparedNumber:
    """A number of a record beside the one that was made again: numbers, or words for flags and guarantees.

    tolerance: the largest difference of the two that is "within tolerance".
    """

    name: str
    recorded: Any
    again: Any
    tolerance: float
    outcome: Outcome


def compare_records(recorded: Record, again: Record) -> list[ComparedNumber]:
    """All metrics of either record, in the order of the table of metrics; then queries, flags and guarantee.

    A metric is the same where value, interval and number of images are equal to the last bit. It is within tolerance
    where the number of images is equal and its values are no farther apart than two independent measurements with these
    95 % intervals are in 19 of 20 cases (the root of the sum of their squared half-widths), or than 1e-6 of itself: on
    another machine a training ends at another network, whose distance from the recorded one no rounding bounds. Other
    facts must be equal.
    """
    told, found = ({one.name: one for one in record.metrics} for record in (recorded, again))
    names = sorted(told.keys() | found.keys(), key=lambda name: (row_number(name), name))
    rows = [_compare_metric(name, told.get(name), found.get(name)) for name in names]
    flags = [sorted({*record.flags} - _OF_THE_MACHINE) for record in (recorded, again)]
    rows.append(_compare_facts("queries", recorded.queries, again.queries))
    rows.append(_compare_facts("flags", *(", ".join(names) for names in flags)))
    if recorded.guarantee or again.guarantee:
        rows.append(_compare_facts("guarantee", recorded.guarantee, again.guarantee))
    return rows


def _compare_metric(name: str, told: Metric | None, found: Metric | None) -> ComparedNumber:
    if told is None or found is None:
        there, here = (None if one is None else one.value for one in (told, found))
        return ComparedNumber(name, there, here, 0.0, "differs")
    tolerance = max(ROUNDING * abs(told.value or 0.0), hypot(_half_width(told), _half_width(found)))
    outcome: Outcome = "differs"
    if told == found:
        outcome = "same"
    elif told.n == found.n and told.value is not None and found.value is not None:
        near = abs(told.value - found.value) <= tolerance
        outcome = "within tolerance" if near else "differs"
    return ComparedNumber(name, told.value, found.value, tolerance, outcome)


def _half_width(metric: Metric) -> float:
    if metric.ci_low is None or metric.ci_high is None:
        return 0.0
    return (metric.ci_high - metric.ci_low) / 2


def _compare_facts(name: str, told: Any, found: Any) -> ComparedNumber:
    tolerance = ROUNDING * abs(told) if isinstance(told, float) else 0.0
    if told == found:
        return ComparedNumber(name, told, found, tolerance, "same")
    near = isinstance(told, float) and isclose(told, found, rel_tol=ROUNDING)
    return ComparedNumber(name, told, found, tolerance, "within tolerance" if near else "differs")
