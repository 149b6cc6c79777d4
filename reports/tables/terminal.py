"""The trade-off table on the terminal: few columns that fit, or all of them, and below what all rows share."""

from __future__ import annotations

from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import escape_controls

from ..reading.distances import distance_name, find_floor
from ..reading.formatting import format_distance
from ..reading.guarantees import list_guarantees
from ..reading.inapplicable import list_inapplicable
from ..reading.marks import find_marks
from ..reading.tradeoff import list_rows
from ..reading.tradeoff_short import shorten_tradeoff
from ..reading.tradeoff_text import format_tradeoff, shared_flags
from ..reading.unmeasured import list_unmeasured
from ..reading.verdicts import list_verdicts
from ..reading.void import list_void_reasons
from ..reading.width import read_width
from .columns import fit_table, wrap

_VOID = "VOID, no membership result says anything"
FEW = 2  # releases whose verdicts stand below the table


def print_table(run: RunFolder, wide: bool = False) -> list[Path]:
    """Print the table as wide as `read_width` says; `wide`: with all its columns. Writes no file."""
    from rich.console import Console

    width = read_width()
    console = Console(highlight=False, markup=False, emoji=False)
    for line in format_wide(run, width) if wide else format_short(run, width, "--wide"):
        console.print(escape_controls(line), style="bold red" if line.startswith(_VOID) else None, soft_wrap=True)
    return []


def format_short(run: RunFolder, width: int, more: str = "") -> list[str]:
    """The table in lines of at most `width` columns; `more`: where the columns are that it leaves out."""
    table = shorten_tradeoff(run)
    rest = f"; all columns: {more}" if more else ""
    notes = [*_list_verdicts(run), *table.notes, *_list_notes(run), f"brackets: 95 %{rest}; verdicts: report.md"]
    return _join(run, fit_table(table.titles, table.cells, width), notes, width)


def format_wide(run: RunFolder, width: int) -> list[str]:
    """The table with all columns: a line a row where that fits, else its intervals below, else a line a column."""
    titles, cells = format_tradeoff(run)
    floor, shared = find_floor(run), sorted(shared_flags(list_rows(run)))
    notes = [f"{distance_name(run)} of real to real images (the floor): {format_distance(floor)}"] if floor else []
    notes += [f"every row: {', '.join(shared)} (report.md explains)"] if shared else []
    return _join(run, fit_table(titles, cells, width), [*notes, *_list_notes(run)], width)


def _join(run: RunFolder, table: list[str], notes: list[str], width: int) -> list[str]:
    """The title, the table, what makes it void or a row of it mean nothing, and the notes."""
    attacks = f" (attacks: {run.plan.ensemble})" if run.plan.ensemble else ""
    warnings = [f"{_VOID}: {reason.words}" for reason in list_void_reasons(run)]
    for point in run.plan.points:
        warnings += [f"{mark.flag.value}: {point.name}: {mark.words}" for mark in find_marks(run, point.name)]
    said = [line for one in (*warnings, *notes) for line in wrap(one, width)]
    return [f"{run.plan.suite}{attacks}: the trade-off", "", *table, "", *said]


def _list_verdicts(run: RunFolder) -> list[str]:
    """The verdicts of a few releases, as of a model that was audited; those of many stand in report.md alone."""
    measured = {record.point for record in run.records}
    judged = [point for point in run.plan.points if point.role != "control" and point.name in measured]
    few = judged if len(judged) <= FEW else []
    return [f"{p.name}, {', '.join(one.levels)}: {one.words}" for p in few for one in list_verdicts(run, p)]


def _list_notes(run: RunFolder) -> list[str]:
    """Guarantees that are stated, attacks that were not run and why, and those that some points lack."""
    stated = [one.words for one in list_guarantees(run) if one.holds and one.point.role != "control"]
    stated += [f"not run: {words}" for words in list_inapplicable(run)]
    return stated + [f"not measured: {words}" for words in list_unmeasured(run)]
