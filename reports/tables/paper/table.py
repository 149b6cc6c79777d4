"""A table for a paper, before it is written: columns with metric and direction, rows of numbers with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import nan

from leakbench.results.metric_specs import Better, find_metric
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary

from ...reading.aggregate import Aggregate, summarise_metric
from ...reading.marks import find_marks
from ...reading.void import list_void_reasons


@dataclass(frozen=True)
class Column:
    """A column of numbers. `name`: how `--columns` calls it. `group`: a heading that it shares with its neighbours.

    metric: gives unit and range. better: which values are the best; "" ranks nothing.
    """

    name: str
    title: str
    metric: str
    better: Better = ""
    group: str = ""
    digits: int | None = None  # None: by the unit

    @property
    def scale(self) -> float:
        """Factor of what is printed: shares stand in per cent."""
        return 100.0 if find_metric(self.metric).unit == "share" else 1.0


def column(name: str, metric: str, title: str, group: str = "", digits: int | None = None) -> Column:
    """A column whose direction is that of the metric's row in METRICS."""
    return Column(name, title, metric, find_metric(metric).better, group, digits)


@dataclass(frozen=True)
class Cell:
    """A number with its interval. `records`: by seed, where raw scores may tell more than the intervals do.

    ranks: False where a flag says that the number is not used to rank.
    """

    found: Summary | None
    records: dict[int, Record] = field(default_factory=dict)
    ranks: bool = True


@dataclass(frozen=True)
class Row:
    """A row: `words` stand in its first columns, `cells` by the name of their column.

    competes: False for a control, an ablation and a row that means nothing. among: rows of one value are compared.
    """

    words: tuple[str, ...]
    cells: dict[str, Cell]
    flags: tuple[str, ...] = ()
    competes: bool = True
    among: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table. `heads`: titles of the columns of words. `void`: reasons for which the track is void."""

    name: str
    caption: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    void: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def filled(self) -> PaperTable:
        """The table without the columns in which no row has a number."""
        kept = tuple(c for c in self.columns if any((cell := r.cells.get(c.name)) and cell.found for r in self.rows))
        return replace(self, columns=kept)


def cell(found: Aggregate | None, records: dict[int, Record] | None = None, ranks: bool = True) -> Cell:
    """A cell of a metric over the seeds."""
    return Cell(summarise_metric(found), records or {}, ranks)


def competes(run: RunFolder, point: str) -> bool:
    """True for a point that may be the best: no control, no ablation, and its row means something."""
    role = next(planned.role for planned in run.plan.points if planned.name == point)
    return role not in ("control", "ablation") and not find_marks(run, point)


def void_words(run: RunFolder) -> tuple[str, ...]:
    """The reasons for which the track is void."""
    return tuple(reason.words for reason in list_void_reasons(run))


def by_seed(records: Iterable[Record]) -> dict[int, Record]:
    """Records of one attack, by their seeds."""
    return {record.seed: record for record in records}


def plain(value: float | None) -> Cell:
    """A cell of a number that has no interval."""
    return Cell(None if value is None else Summary(value, nan, nan, value, value, 1))
