"""Leakage of a model while it trains: AUC by step, a line an attack, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from leakbench.statistics import Estimate

from .canvas import COLUMN, figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_leakage(lines: Mapping[str, Sequence[tuple[int, Estimate]]]) -> Figure:
    """Steps and AUCs by attack, as one panel."""
    from matplotlib.ticker import MaxNLocator

    with styled():
        drawn = figure(COLUMN, 2.4)
        ax = drawn.add_subplot()
        for (name, line), marker in zip(lines.items(), "osD^vPX*<>" * len(lines), strict=False):
            steps, found = zip(*line, strict=True)
            (stroke,) = ax.plot(steps, [one.value for one in found], marker=marker, label=name)
            low, high = [one.low for one in found], [one.high for one in found]
            ax.fill_between(steps, low, high, color=stroke.get_color(), alpha=0.15, linewidth=0)
        ax.axhline(0.5, color="0.5", linewidth=0.6, linestyle=":")
        ax.set(xlabel="training step", ylabel="AUC", ylim=(min(0.45, ax.get_ylim()[0]), 1.005))
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.legend(loc="upper left")
        return drawn
