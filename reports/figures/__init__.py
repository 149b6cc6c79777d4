"""The figures of a run, each as PNG and PDF: what can be drawn is drawn, and of the rest it is said why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder

from . import classes, fairness, forgetting, gate, growth, pairs, privacy, relearning, roc, similarity, tau, tradeoff
from .canvas import Missing, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CHARTS", "FOLDER", "Chart", "Missing", "write_figures"]

FOLDER = "figures"


@dataclass(frozen=True)
class Chart:
    """`gather` takes from the records what `draw` needs, or raises Missing; it does not import matplotlib."""

    name: str
    caption: str
    gather: Callable[[RunFolder], Any]
    draw: Callable[[Any], Figure]

    def missing(self, run: RunFolder) -> str:
        """Why it cannot be drawn; empty if it can."""
        try:
            self.gather(run)
        except Missing as reason:
            return str(reason)
        return ""


CHARTS = (
    Chart("tradeoff", tradeoff.CAPTION, tradeoff.gather, tradeoff.draw),
    Chart("roc", roc.CAPTION, roc.gather, roc.draw),
    Chart("similarity", similarity.CAPTION, similarity.gather, similarity.draw),
    Chart("growth", growth.CAPTION, growth.gather, growth.draw),
    Chart("pairs", pairs.CAPTION, pairs.gather, pairs.draw),
    Chart("gate", gate.CAPTION, gate.gather, gate.draw),
    Chart("privacy", privacy.CAPTION, privacy.gather, privacy.draw),
    Chart("forgetting", forgetting.CAPTION, forgetting.gather, forgetting.draw),
    Chart("relearning", relearning.CAPTION, relearning.gather, relearning.draw),
    Chart("fairness", fairness.CAPTION, fairness.gather, fairness.draw),
    Chart("classes", classes.CAPTION, classes.gather, classes.draw),
    Chart("tau", tau.CAPTION, tau.gather, tau.draw),
)


def write_figures(run: RunFolder) -> list[Path]:
    """Draws all that can be drawn into figures/. A figure of an earlier run that can no longer be drawn is removed."""
    written: list[Path] = []
    for chart in CHARTS:
        try:
            data = chart.gather(run)
        except Missing:
            for ending in ("png", "pdf"):
                (run.path / FOLDER / f"{chart.name}.{ending}").unlink(missing_ok=True)
            continue
        with styled():
            written += save(chart.draw(data), run.path / FOLDER, chart.name)
    return written
