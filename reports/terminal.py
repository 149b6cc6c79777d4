"""The trade-off table on the terminal."""

from __future__ import annotations

from pathlib import Path

from leakbench.records import RunFolder

from .tradeoff import tradeoff_text


def print_table(run: RunFolder) -> list[Path]:
    """Print the table, as wide as it needs to be when the output is not a terminal. Writes no file."""
    from rich.console import Console
    from rich.table import Table

    titles, rows = tradeoff_text(run)
    table = Table(title=f"{run.plan['suite']}: the trade-off", title_justify="left", pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)
    return []
