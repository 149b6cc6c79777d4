"""The trade-off table on the terminal: the columns that compare, and below it what all rows share."""

from __future__ import annotations

from pathlib import Path

from leakbench.results.run_folder import RunFolder

from .entries import ensemble
from .guarantees import claims
from .tradeoff import distance_name, rows, shared_flags, tradeoff_text
from .words import distance

_LEFT_TO_THE_REPORT = ("its floor", "training set")  # ends of titles


def print_table(run: RunFolder) -> list[Path]:
    """Print the table, as wide as it needs to be when the output is not a terminal. Writes no file."""
    from rich.console import Console
    from rich.table import Table

    titles, cells = tradeoff_text(run)
    shown = [i for i, title in enumerate(titles) if not title.endswith(_LEFT_TO_THE_REPORT)]
    attacks = f" (attacks: {ensemble(run)})" if ensemble(run) else ""
    table = Table(title=f"{run.plan.suite}{attacks}: the trade-off", title_justify="left", pad_edge=False)
    for i in shown:
        table.add_column(titles[i], overflow="fold")
    for row in cells:
        table.add_row(*(row[i] for i in shown))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    for note in _notes(run):
        console.print(note, highlight=False)
    return []


def _notes(run: RunFolder) -> list[str]:
    """What every row shares: the floor of the distance, and flags; and what is claimed."""
    found = rows(run)
    floors = [row.distances["frechet_floor"] for row in found if row.distances["frechet_floor"]]
    notes = (
        [f"{distance_name(run)} of real to real images (the floor): {distance(floors[0].summary)}"] if floors else []
    )
    if shared := sorted(shared_flags(found)):
        notes.append(f"every row: {', '.join(shared)} (report.md explains)")
    notes += [claim.words for claim in claims(run) if claim.holds and claim.point.role != "control"]
    return notes
