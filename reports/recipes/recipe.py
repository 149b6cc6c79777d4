"""A recipe: a paper's headline table beside this run's numbers, and the figure that goes with it.

Papers' numbers are facts that their tables state; "(secondary source)" marks those that we have from a summary or a
review. They were measured on other data, by other features and at another size than a run's own, so no difference is
taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.metric_flags import read_flags
from ..reading.selection import quality_records
from ..tables.paper.table import Column, PaperTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER, OURS = "paper", "this run"  # groups of columns


@dataclass(frozen=True)
class Recipe:
    """A recipe, made from records of the built-in `suite`.

    collect: the table; without rows where the run has no such system. plot: the figure, so many inches wide; raises
    MissingData.
    """

    name: str
    title: str
    suite: str
    collect: Callable[[RunFolder], PaperTable]
    plot: Callable[[RunFolder, float], Figure]


def paper_column(name: str, metric: str, title: str, digits: int | None = None) -> Column:
    """A column of the paper's numbers. Nothing is ranked."""
    return Column(f"paper_{name}", title, metric, group=PAPER, digits=digits)


def our_column(name: str, metric: str, title: str, digits: int | None = None) -> Column:
    """A column of this run's numbers. Nothing is ranked."""
    return Column(name, title, metric, group=OURS, digits=digits)


def quality_flags(run: RunFolder, point: PlannedPoint, metric: str) -> tuple[str, ...]:
    """The flags that concern a metric of a point's samples."""
    return tuple(sorted({flag for r in quality_records(run, point) for flag in read_flags(run, r, metric)}))
