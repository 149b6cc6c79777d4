"""The choice of what tables and figures show: points, attacks, columns, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from leakbench.reports.figures.tradeoff import list_panels
from leakbench.reports.reading.shown import ShownRun
from leakbench.reports.tables.paper.registry import list_tables
from leakbench.results.record import QUALITY
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError, nearest_name

Names = Iterable[str] | None  # None for all


def choose_shown(run: RunFolder, points: Names = None, attacks: Names = None, columns: Names = None) -> RunFolder:
    """The run as tables and figures are to show it; itself where nothing is chosen.

    - points: names of points, as "cpsample alpha=0.25", or ids of defenses for all their points.
    - attacks: ids of attacks. The strongest attack is then that of these, and tables and figures say so.
    - columns: as the tables' own, "denoiser_auc"; panels of the trade-off have the same names.

    Raises UsageError for a name that this run lacks, with the nearest that it has.
    """
    if points is None and attacks is None and columns is None:
        return run
    return ShownRun(run, _points(run, points), _attacks(run, attacks), _columns(run, columns))


def list_columns(run: RunFolder) -> list[str]:
    """The names of the columns and panels that tables and figures of a run have."""
    named = [column.name for table in list_tables(run) for column in table.columns]
    return list(dict.fromkeys([*named, *list_panels(run)]))


def _points(run: RunFolder, asked: Names) -> Collection[str] | None:
    if asked is None:
        return None
    planned = run.plan.points
    known = {p.name for p in planned} | {p.defense for p in planned}
    checked = _check(run, "points", asked, known)
    return {point.name for point in planned if {point.name, point.defense} & checked}


def _attacks(run: RunFolder, asked: Names) -> Collection[str] | None:
    known = {record.attack for record in run.records} - {QUALITY}
    return None if asked is None else _check(run, "attacks", asked, known)


def _columns(run: RunFolder, asked: Names) -> Collection[str] | None:
    return None if asked is None else _check(run, "columns", asked, list_columns(run))


def _check(run: RunFolder, option: str, asked: Iterable[str], known: Collection[str]) -> set[str]:
    found = set(asked)
    if wrong := sorted(found - set(known)):
        said = "; ".join(f"{name!r} ({nearest_name(name, known)})" for name in wrong)
        raise UsageError(f"--{option}: {run.path} has no {said}")
    return found
