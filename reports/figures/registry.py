"""The figures of a run, each as PNG and PDF. A figure is one file in this folder and one line in CHARTS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder

from ..reading.void import list_void_reasons
from . import classes, fairness, forgetting, gate, growth, pairs, privacy, relearning, roc, similarity, tau, tradeoff
from .canvas import MissingData, save, stamp_void, styled

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
    plot: Callable[[Any], Figure]

    def missing(self, run: RunFolder) -> str:
        """Why it cannot be drawn; empty if it can."""
        try:
            self.collect_data(run)
        except MissingData as reason:
            return str(reason)
        return ""


CHARTS = (
    Chart("tradeoff", tradeoff.CAPTION, tradeoff.collect_data, tradeoff.plot),
    Chart("roc", roc.CAPTION, roc.collect_data, roc.plot),
    Chart("similarity", similarity.CAPTION, similarity.collect_data, similarity.plot),
    Chart("growth", growth.CAPTION, growth.collect_data, growth.plot),
    Chart("pairs", pairs.CAPTION, pairs.collect_data, pairs.plot),
    Chart("gate", gate.CAPTION, gate.collect_data, gate.plot),
    Chart("privacy", privacy.CAPTION, privacy.collect_data, privacy.plot),
    Chart("forgetting", forgetting.CAPTION, forgetting.collect_data, forgetting.plot),
    Chart("relearning", relearning.CAPTION, relearning.collect_data, relearning.plot),
    Chart("fairness", fairness.CAPTION, fairness.collect_data, fairness.plot),
    Chart("classes", classes.CAPTION, classes.collect_data, classes.plot),
    Chart("tau", tau.CAPTION, tau.collect_data, tau.plot),
)


def write_figures(run: RunFolder) -> list[Path]:
    """Draw into figures/ all that can be drawn. Delete a figure of an earlier run that no longer can."""
    written: list[Path] = []
    for chart in CHARTS:
        try:
            data = chart.collect_data(run)
        except MissingData:
            for ending in ("png", "pdf"):
                (run.path / FOLDER / f"{chart.name}.{ending}").unlink(missing_ok=True)
            continue
        with styled():
            drawn = chart.plot(data)
            if list_void_reasons(run):
                stamp_void(drawn)
            written += save(drawn, run.path / FOLDER, chart.name)
    return written
