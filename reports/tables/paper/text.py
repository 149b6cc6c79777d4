"""A table for a paper as plain text: titles and cells."""

from __future__ import annotations

from ...reading.formatting import NOTHING, format_ci
from .render import decimals
from .table import Column, PaperTable, Row


def format_table(table: PaperTable) -> tuple[list[str], list[list[str]]]:
    """Titles, and the cells of each row: numbers with their intervals, and last the flags where there are any."""
    places = {column.name: decimals(table, column) for column in table.columns}
    titles = [*table.heads, *(f"{c.group}: {c.title}" if c.group else c.title for c in table.columns)]
    rows = [[*row.words, *(_format(row, c, places[c.name]) for c in table.columns)] for row in table.rows]
    if any(row.flags for row in table.rows):
        return [*titles, "flags"], [[*c, ", ".join(row.flags)] for c, row in zip(rows, table.rows, strict=True)]
    return titles, rows


def _format(row: Row, column: Column, places: int) -> str:
    its = row.cells.get(column.name)
    return format_ci(its.found, places, column.scale) if its else NOTHING
