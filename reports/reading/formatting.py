"""Numbers and names as people read them."""

from __future__ import annotations

from math import ceil, floor, isfinite, isnan, log10

from leakbench.results.metric_specs import find_metric
from leakbench.statistics import Estimate, Summary

from .aggregate import Aggregate

NOTHING = "-"


def format_ci(found: Aggregate | Summary | None, digits: int = 2, scale: float = 1.0, unit: str = "") -> str:
    """`0.93 [0.91, 0.95]`: mean and interval over the seeds; without an interval the mean alone."""
    summary = _to_summary(found)
    if summary is None:
        return NOTHING
    value, low, high = (_fixed(x * scale, digits) for x in (summary.mean, summary.low, summary.high))
    return f"{value}{unit}" if isnan(summary.low) else f"{value}{unit} [{low}, {high}]"


def format_estimate(found: Estimate) -> str:
    """`0.51 [0.45, 0.57]`: one estimate, three digits, as controls sit close to 1/2."""
    return f"{_fixed(found.value, 3)} [{_fixed(found.low, 3)}, {_fixed(found.high, 3)}]"


def format_percent(found: Aggregate | Summary | None) -> str:
    """`12.0 % [10.1, 14.0]`."""
    return format_ci(found, digits=1, scale=100, unit=" %")


def format_distance(found: Aggregate | Summary | None) -> str:
    """A Frechet distance: three significant digits of its value, as many decimals for its bounds."""
    summary = _to_summary(found)
    if summary is None or summary.mean == 0:
        return format_ci(summary)
    return format_ci(summary, digits=max(0, 2 - floor(log10(abs(summary.mean)))))


def format_metric(metric: str, found: Aggregate | Summary | None) -> str:
    """A value of a metric, by its unit."""
    by_unit = {"share": format_percent, "distance": format_distance}
    return by_unit.get(find_metric(metric).unit, format_ci)(found)


def _to_summary(found: Aggregate | Summary | None) -> Summary | None:
    return found.summary if isinstance(found, Aggregate) else found


def format_significant(value: float, digits: int = 3) -> str:
    """`2.99`, `0.0123`, `12,300`: so many digits that count, and thousands apart; never an exponent above one."""
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    if abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    places = digits - 1 - floor(log10(abs(value)))
    return f"{round(value, places):,.{max(0, places)}f}"


def format_calls(value: float) -> str:
    """`214`, `2.50`: a mean number of calls, without decimals that say nothing."""
    return f"{value:,.0f}" if value == round(value) else format_significant(value)


def format_ratio(ratio: float) -> str:
    """`1.20x`, `0.99x`, `35.1x`, `0.0283x`."""
    return f"{ratio:.2f}x" if 0.1 <= ratio < 10 else f"{format_significant(ratio)}x"


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.0"


def distance_title(features: str) -> str:
    """FID is the name of one distance only: that of Inception features."""
    return "FID" if features == "inception" else f"FD-{features or 'unknown'}"


def rate_title(metric: str) -> str:
    """`TPR at 10 % FPR` for `tpr@fpr=0.1`; other names stay."""
    if not metric.startswith("tpr@fpr="):
        return metric
    return f"TPR at {float(metric.removeprefix('tpr@fpr=')) * 100:g} % FPR"


def count_noun(n: int, noun: str, plural: str = "") -> str:
    """`1 seed`, `2 seeds`; `plural` is for nouns that take more than an s."""
    return f"{n} {noun}" if n == 1 else f"{n} {plural or f'{noun}s'}"


def join_words(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def format_p(p: float | None) -> str:
    """`0.034`, `< 0.001`; nothing of nothing."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def round_up(value: float, digits: int = 2) -> str:
    """A bound that must not be printed smaller than it is; float noise does not add a unit."""
    return f"{ceil(round(value * 10**digits, 6)) / 10**digits:.{digits}f}"


def drop_empty_columns(titles: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns in which no row says anything."""
    kept = [i for i in range(len(titles)) if any(row[i] != NOTHING for row in rows)]
    return [titles[i] for i in kept], [[row[i] for i in kept] for row in rows]
