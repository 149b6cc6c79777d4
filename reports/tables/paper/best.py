"""The best of a column: the row with the best value, and every row that is not shown to be worse; none where none is.

Two numbers are compared in pairs, seed by seed, wherever they rest on the same images or sample seeds
(`reading.comparison`); an AUC is read from the side of 1/2 on which it lies. Of all else the interval of the difference
joins the two rows' own (MOVER), as if these were independent, so that rows are shown to be worse too seldom, never too
often. Intervals are of 95 %, not corrected for the number of rows. Copies beyond the null rank one-sidedly
(`reading.copy_rank`): of a row whose interval reaches down to 0 no copies are shown, so it is not worse than another.
"""

from __future__ import annotations

from dataclasses import replace
from math import hypot, isfinite, isnan

from leakbench.results.metric_specs import Better
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, Summary, delong_pair

from ...reading.aggregate import Aggregate
from ...reading.comparison import Source, compare_records
from ...reading.copy_rank import COPY_EXCESSES, rank_excess
from ...reading.scores import load_groups, load_scores
from ...reading.void import list_void_reasons
from .table import Cell, Column, PaperTable


def find_best(run: RunFolder, table: PaperTable) -> set[tuple[int, str]]:
    """The number of the row and the name of the column of each cell that is the best. On a void track there is none."""
    if list_void_reasons(run):
        return set()
    groups = dict.fromkeys(row.among for row in table.rows)
    return {
        (number, column.name)
        for column in table.columns
        if column.better
        for group in groups
        for number in _best_rows(run, table, column, group)
    }


def _best_rows(run: RunFolder, table: PaperTable, column: Column, group: str) -> list[int]:
    found = {
        number: its
        for number, row in enumerate(table.rows)
        if row.among == group and row.competes and (its := row.cells.get(column.name)) and its.ranks
        if its.found is not None and isfinite(its.found.mean)
    }
    if len(found) < 2:  # nothing was compared
        return []
    first = min(found, key=lambda number: (loss(_as_ranked(found[number], column), column.better)[0], number))
    kept = [number for number, its in found.items() if number == first or not _worse(run, its, found[first], column)]
    return kept if len(kept) < len(found) else []


def loss(found: Summary | None, better: Better) -> tuple[float, float, float]:
    """Value and interval of what is to be small; the bounds are the value's where there is no interval.

    Raises ValueError without a value or a direction.
    """
    if found is None or not better:
        raise ValueError("nothing to rank")
    value, low, high = found.mean, found.low, found.high
    if isnan(low) or isnan(high):
        low = high = value
    if better == "lower":
        return value, low, high
    if better == "higher":
        return -value, -high, -low
    aim = float(better.removeprefix("closest to "))
    ends = abs(low - aim), abs(high - aim)
    return abs(value - aim), 0.0 if low <= aim <= high else min(ends), max(ends)


def _worse(run: RunFolder, ours: Cell, best: Cell, column: Column) -> bool:
    """True if a cell is shown to be worse than the best one."""
    mine = _as_ranked(ours, column)
    if column.metric in COPY_EXCESSES and mine is not None and mine.low <= 0:
        return False
    paired = _difference(run, ours, best, column)
    if paired is not None:
        return paired.high < 0 if column.better == "higher" else paired.low > 0
    value, low, _ = loss(mine, column.better)
    least, _, high = loss(_as_ranked(best, column), column.better)
    return value - least - hypot(value - low, high - least) > 0


def _as_ranked(cell: Cell, column: Column) -> Summary | None:
    """The number of a cell; copies beyond the null from 0 up."""
    found = cell.found
    if found is None or column.metric not in COPY_EXCESSES:
        return found
    return replace(found, mean=rank_excess(found.mean), low=rank_excess(found.low), high=rank_excess(found.high))


def _difference(run: RunFolder, ours: Cell, best: Cell, column: Column) -> Summary | None:
    """A cell minus the best one, paired over the seeds; of an AUC, its distance from 1/2. None where there are no
    pairs."""
    shared = sorted(ours.records.keys() & best.records.keys())
    records = [(ours.records[seed], best.records[seed]) for seed in shared]
    if column.metric == "auc":
        sides = [-1.0 if cell.found is not None and cell.found.mean < 0.5 else 1.0 for cell in (ours, best)]
        found = [_compare_aucs(run, one, other, sides) for one, other in records]
    elif column.better in ("lower", "higher"):
        found = [_compare(run, one, other, column.metric) for one, other in records]
    else:
        return None
    known = {seed: one for seed, one in zip(shared, found, strict=True) if one is not None}
    return Aggregate("difference", known).summary if known and len(known) == len(shared) else None


def _compare(run: RunFolder, first: Record, second: Record, metric: str) -> Estimate | None:
    """A metric of the first minus that of the second; None where they are no pair."""
    compared = compare_records(Source(run.whole, first), Source(run.whole, second), metric)
    return compared.found.difference if compared is not None and compared.paired else None


def _compare_aucs(run: RunFolder, first: Record, second: Record, sides: list[float]) -> Estimate | None:
    """AUC of the first minus AUC of the second, each read from the side of 1/2 on which it lies."""
    one, other = load_scores(run, first), load_scores(run, second)
    if one is None or other is None or [len(part) for part in one] != [len(part) for part in other]:
        return None
    (m, n), (k, j) = [sides[0] * part for part in one], [sides[1] * part for part in other]
    difference: Estimate = delong_pair(m, n, k, j, groups=load_groups(run, first)).difference
    return difference
