"""The trade-off as a DataFrame that shows itself in few columns."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

from leakbench.reports.reading.tradeoff import tradeoff_table
from leakbench.reports.reading.tradeoff_short import ShortTable, shorten_tradeoff
from leakbench.reports.reading.width import read_width
from leakbench.reports.tables.columns import fit_table, wrap
from leakbench.results.run_folder import RunFolder


class TradeoffFrame(pd.DataFrame):
    """A DataFrame with every number of the trade-off, whose text and HTML are those of the short table.

    Whatever is made from it (a column, a selection, a copy) is pandas' own and shows what it holds; so does the table
    itself once a cell, a row or a column of it is changed.
    """

    _made: pd.DataFrame
    _short: ShortTable

    def __init__(self, run: RunFolder) -> None:
        made = tradeoff_table(run)
        super().__init__(made.copy())  # type: ignore[call-arg]  # the stubs have __new__ alone
        object.__setattr__(self, "_made", made)  # pandas would take an attribute for a column
        object.__setattr__(self, "_short", shorten_tradeoff(run))

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __reduce__(self) -> Any:
        return pd.DataFrame, (pd.DataFrame(self),)

    def __repr__(self) -> str:
        if not self.equals(self._made):
            return super().__repr__()
        width = read_width()
        notes = [line for note in [*self._short.notes, self._rest] for line in wrap(note, width)]
        return "\n".join([*fit_table(self._short.titles, self._short.cells, width), "", *notes])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        if not self.equals(self._made):
            return self.to_html()
        return render_html(self._short, self._rest)

    @property
    def _rest(self) -> str:
        return f"a DataFrame of {len(self.columns)} columns: see .columns"


def render_html(table: ShortTable, *notes: str) -> str:
    """The short table with its notes, for a notebook. Text of the run stands in it as text."""
    cells = pd.DataFrame([dict(zip(table.titles, row, strict=True)) for row in table.cells], columns=table.titles)
    said = "".join(f"<br>{escape(note)}" for note in [*table.notes, *notes]).removeprefix("<br>")
    return f"{cells.to_html(index=False, border=0)}<p><small>{said}</small></p>"
