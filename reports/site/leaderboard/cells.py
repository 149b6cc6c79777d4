"""Cells of the site's tables: the text that people read, and the value by which a column is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from leakbench.statistics import Summary

from ...reading.aggregate import Aggregate, summarise_metric
from ...reading.formatting import NOTHING, format_calls, format_ci, format_distance, format_percent, format_significant


@dataclass(frozen=True)
class Cell:
    """A cell. sort: a number or lower-case words; "" for nothing, which stands last in either order. link: a page of
    the site. notes: lines below the text. further: pages linked below them, by their words."""

    text: str
    sort: str = ""
    link: str = ""
    notes: tuple[str, ...] = ()
    further: tuple[tuple[str, str], ...] = ()

    @property
    def long(self) -> bool:
        """True for a text that needs a wide column."""
        return len(self.text) > 60


@dataclass(frozen=True)
class Table:
    """A table with a caption. numeric: the columns that are sorted as numbers, by their place."""

    caption: str
    titles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    filters: bool = False


def word_cell(text: str, link: str = "", notes: Sequence[str] = (), further: Sequence[tuple[str, str]] = ()) -> Cell:
    """A cell of words; empty notes are left out."""
    return Cell(text or NOTHING, text.lower(), link, _keep(notes), tuple(further))


def number_cell(value: float | None, text: str = "", note: str = "") -> Cell:
    """A cell of a number; nothing where it is none. text: the number as it is read; three digits if left out."""
    if value is None or not isfinite(value):
        return Cell(_keep_together(text or NOTHING), notes=_keep([_keep_together(note)]))
    words = _keep_together(text or format_significant(value))
    return Cell(words, repr(float(value)), notes=_keep([_keep_together(note)]))


def _keep(notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(note for note in notes if note)


def _keep_together(text: str) -> str:
    """A number with its interval, which a line may break before the bracket and nowhere else."""
    return text.replace(", ", ",\u00a0").replace(" %", "\u00a0%")


def calls_cell(value: float) -> Cell:
    """A number of calls of the network."""
    return number_cell(value, format_calls(value)) if isfinite(value) else number_cell(None)


def auc_cell(found: Summary | None, note: str = "") -> Cell:
    """An AUC with its interval, sorted by its distance from 1/2."""
    return number_cell(abs(found.mean - 0.5) if found else None, format_ci(found), note)


def share_cell(found: Aggregate | Summary | None, note: str = "") -> Cell:
    """A share with its interval, in percent."""
    return number_cell(_mean(found), format_percent(found), note)


def distance_cell(found: Aggregate | None, note: str = "") -> Cell:
    """A distance with its interval."""
    return number_cell(_mean(found), format_distance(found), note)


def make_table(
    caption: str, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[Cell]], filters: bool = False
) -> Table:
    """A table without the columns that say nothing. columns: title, and whether it is sorted as numbers."""
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i].text not in (NOTHING, "") for row in rows)]
    return Table(
        caption,
        tuple(columns[i][0] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in rows),
        frozenset(place for place, i in enumerate(kept) if columns[i][1]),
        filters,
    )


def _mean(found: Aggregate | Summary | None) -> float | None:
    summary = summarise_metric(found) if isinstance(found, Aggregate) else found
    return summary.mean if summary else None
