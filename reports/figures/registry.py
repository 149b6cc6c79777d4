"""The figures of a run: those of its report, and the set for papers. A figure is one file here and one line in CHARTS.

The report's are PNG and PDF at the size that suits each. For papers each is drawn at the width of one column and of two
(NAME_1col, NAME_2col) as PDF, SVG and PNG, with its numbers in NAME.csv; of a part of a run in NAME_part.csv, as
NAME.csv holds what NAME.png shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

from ..reading.void import list_void_reasons
from . import (
    classes,
    fairness,
    forgetting,
    gate,
    growth,
    pairs,
    people,
    privacy,
    relearning,
    roc,
    similarity,
    tau,
    tradeoff,
)
from .canvas import COLUMN, PAGE, MissingData, save, stamp_void, styled
from .values import Values, write_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"


@dataclass(frozen=True)
class Chart:
    """A figure. `collect_data` takes from the records what `plot` needs, or raises MissingData; it imports no
    matplotlib."""

    name: str
    caption: str
    collect_data: Callable[[RunFolder], Any]
    plot: Callable[..., Figure]
    list_values: Callable[[Any], list[Values]]

    def missing(self, run: RunFolder) -> str:
        """Why it cannot be drawn; empty if it can."""
        try:
            self.collect_data(run)
        except MissingData as reason:
            return str(reason)
        return ""


CHARTS = (
    Chart("tradeoff", tradeoff.CAPTION, tradeoff.collect_data, tradeoff.plot, tradeoff.list_values),
    Chart("roc", roc.CAPTION, roc.collect_data, roc.plot, roc.list_values),
    Chart("people", people.CAPTION, people.collect_data, people.plot, people.list_values),
    Chart("similarity", similarity.CAPTION, similarity.collect_data, similarity.plot, similarity.list_values),
    Chart("growth", growth.CAPTION, growth.collect_data, growth.plot, growth.list_values),
    Chart("pairs", pairs.CAPTION, pairs.collect_data, pairs.plot, pairs.list_values),
    Chart("gate", gate.CAPTION, gate.collect_data, gate.plot, gate.list_values),
    Chart("privacy", privacy.CAPTION, privacy.collect_data, privacy.plot, privacy.list_values),
    Chart("forgetting", forgetting.CAPTION, forgetting.collect_data, forgetting.plot, forgetting.list_values),
    Chart("relearning", relearning.CAPTION, relearning.collect_data, relearning.plot, relearning.list_values),
    Chart("fairness", fairness.CAPTION, fairness.collect_data, fairness.plot, fairness.list_values),
    Chart("classes", classes.CAPTION, classes.collect_data, classes.plot, classes.list_values),
    Chart("tau", tau.CAPTION, tau.collect_data, tau.plot, tau.list_values),
)


WIDTHS = {"1col": COLUMN, "2col": PAGE}
_PAPER = ("pdf", "svg", "png")


def write_figures(run: RunFolder) -> list[Path]:
    """Draw into figures/ all that can be drawn, for the report and for papers. Delete what no longer can be.

    Where `run` is a part of a run, so are the figures for papers; the report's show all.
    """
    return [*write_drawings(run.whole), *write_paper_figures(run)]


def write_paper_figures(run: RunFolder) -> list[Path]:
    """Draw the set for papers. Its numbers never overwrite those of the whole run by those of a part."""
    written: list[Path] = []
    whole = run.whole is run
    for chart, data in _collect_all(run, "_?col.*", ".csv", "_part.csv"):
        for ending, width in WIDTHS.items():
            written += _draw(run, f"{chart.name}_{ending}", _PAPER, partial(chart.plot, data, width))
        name = f"{chart.name}.csv" if whole else f"{chart.name}_part.csv"
        written.append(write_values(run.path / FOLDER / name, chart.list_values(data)))
        if whole:  # the figures that it belongs to show the whole again
            (run.path / FOLDER / f"{chart.name}_part.csv").unlink(missing_ok=True)
    return written


def draw(run: RunFolder, name: str, width: float) -> Figure:
    """The figure of a name, so many inches wide, stamped where the track is void. Raises UsageError where the records
    hold nothing for it."""
    chart = next(chart for chart in CHARTS if chart.name == name)
    try:
        data = chart.collect_data(run)
    except MissingData as reason:
        raise UsageError(f"{run.path}: no figure {name!r}: {reason}") from None
    return _plot(run, partial(chart.plot, data, width))


def _plot(run: RunFolder, plot: Callable[[], Figure]) -> Figure:
    with styled():
        drawn = plot()
        if list_void_reasons(run):
            stamp_void(drawn)
        return drawn


def _draw(run: RunFolder, name: str, endings: tuple[str, ...], plot: Callable[[], Figure]) -> list[Path]:
    """Draw a figure in the package's style, stamped where the track is void, and save it."""
    drawn = _plot(run, plot)
    with styled():
        return save(drawn, run.path / FOLDER, name, endings)


def write_drawings(run: RunFolder) -> list[Path]:
    """Draw the report's figures, in pixels alone: every run draws them, and `write_figures` makes those of a paper."""
    written: list[Path] = []
    for chart, data in _collect_all(run, ".png"):
        written += _draw(run, chart.name, ("png",), partial(chart.plot, data))
    return written


def _collect_all(run: RunFolder, *endings: str) -> Iterator[tuple[Chart, Any]]:
    """The figures that can be drawn, with their data. Files with these endings of one that no longer can be are
    deleted; a part of a run leaves what it lacks as it is."""
    for chart in CHARTS:
        try:
            data = chart.collect_data(run)
        except MissingData:
            if run.whole is run:
                for path in (one for ending in endings for one in (run.path / FOLDER).glob(f"{chart.name}{ending}")):
                    path.unlink()
        else:
            yield chart, data
