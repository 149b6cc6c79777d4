"""The trade-off table on the terminal: the columns that compare, and below it what all rows share."""

from __future__ import annotations

from pathlib import Path

from leakbench.results.run_folder import RunFolder

from ..reading.distances import distance_name, find_floor
from ..reading.formatting import format_distance
from ..reading.guarantees import list_guarantees
from ..reading.inapplicable import list_inapplicable
from ..reading.marks import find_marks
from ..reading.tradeoff import list_rows
from ..reading.tradeoff_text import format_tradeoff, shared_flags
from ..reading.void import list_void_reasons

_LEFT_TO_THE_REPORT = ("its floor", "training set")  # ends of titles


def print_table(run: RunFolder) -> list[Path]:
    """Print the table, as wide as it needs to be when the output is not a terminal. Writes no file."""
    from rich.console import Console
    from rich.table import Table

    titles, cells = format_tradeoff(run)
    shown = [i for i, title in enumerate(titles) if not title.endswith(_LEFT_TO_THE_REPORT)]
    attacks = f" (attacks: {run.plan.ensemble})" if run.plan.ensemble else ""
    table = Table(title=f"{run.plan.suite}{attacks}: the trade-off", title_justify="left", pad_edge=False)
    for i in shown:
        table.add_column(titles[i], overflow="fold")
    for row in cells:
        table.add_row(*(row[i] for i in shown))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    for reason in list_void_reasons(run):
        console.print(f"VOID, no membership result says anything: {reason.words}", style="bold red", highlight=False)
    for point in run.plan.points:
        for mark in find_marks(run, point.name):
            console.print(f"{mark.flag.value}: {point.name}: {mark.words}", style="bold", highlight=False)
    for note in _notes(run):
        console.print(note, highlight=False)
    return []


def _notes(run: RunFolder) -> list[str]:
    """Lines below the table: the distance's floor, flags of every row, guarantees, and attacks not run and why."""
    floor, shared = find_floor(run), sorted(shared_flags(list_rows(run)))
    notes = [f"{distance_name(run)} of real to real images (the floor): {format_distance(floor)}"] if floor else []
    if shared:
        notes.append(f"every row: {', '.join(shared)} (report.md explains)")
    notes += [one.words for one in list_guarantees(run) if one.holds and one.point.role != "control"]
    return notes + [f"not run: {words}" for words in list_inapplicable(run)]
