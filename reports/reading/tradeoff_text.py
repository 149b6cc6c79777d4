"""The trade-off as text, for a terminal or a page."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from .distances import distance_name
from .extra_columns import column_title, format_cell, list_extra_columns
from .formatting import NOTHING, format_ci, format_distance, format_percent, rate_title
from .leakage import Leak
from .selection import copy_attacks
from .tradeoff import TradeoffRow, list_rows, shown_levels
from .tradeoff_axes import DISTANCES


def format_tradeoff(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """The titles, and the cells of each row."""
    name, tpr = distance_name(run), rate_title(run.plan.headline)
    titles = ["point", f"{name}, held-out", "its floor", f"{name}, training set"]
    levels = shown_levels(run)
    for level in levels.values():
        titles += [f"{level}: strongest, AUC", f"{level}: {tpr}"]
    titles += [f"copies beyond null, {label}" for label in copy_attacks(run).values()]
    titles += [column_title(metric) for metric in list_extra_columns(run)]
    rows = list_rows(run)
    everywhere = shared_flags(rows)
    return [*titles, "flags"], [_format_row(row, everywhere, levels) for row in rows]


def format_rate(leak: Leak) -> str:
    """The headline TPR, behind its attack where that is not the one of the AUC."""
    return f"{leak.rate_attack} {format_percent(leak.tpr)}".lstrip()


def shared_flags(rows: list[TradeoffRow]) -> set[str]:
    """Flags that every one of several points carries: said once below the table, they need no column."""
    return set.intersection(*(set(row.flags) for row in rows)) if len(rows) > 1 else set()


def _format_row(row: TradeoffRow, everywhere: set[str], levels: dict[str, str]) -> list[str]:
    cells = [row.point.name, *(format_distance(row.distances[name]) for name in DISTANCES)]
    for leak in (row.leaks[level] for level in levels):
        cells += [f"{leak.attack} {format_ci(leak.auc)}" if leak.attack else NOTHING, format_rate(leak)]
    cells += [format_percent(found) for found in row.copies.values()]
    cells += [format_cell(metric, value) for metric, value in row.extra.items()]
    return [*cells, ", ".join(flag for flag in row.flags if flag not in everywhere)]
