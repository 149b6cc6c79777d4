"""Leakage and copying of a model while it trains, by step, a line an attack, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leakbench.statistics import Estimate

from .canvas import COLUMN, PAGE, figure, rests_on_split, save, stamp_void, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Lines = Mapping[str, Sequence[tuple[int, Estimate]]]


def draw_leakage(lines: Lines) -> Figure:
    """Steps and AUCs by attack, as one panel."""
    with styled():
        drawn = figure(COLUMN, 2.4)
        _leakage(drawn.add_subplot(), lines)
        return drawn


def save_series(leakage: Lines, copying: Lines, void: bool, folder: Path, name: str) -> list[Path]:
    """Draw steps and AUCs, and beside them copies beyond the null where there are any attacks on copying, into
    NAME.png and NAME.pdf. `void`: leakage means nothing, and is stamped so."""
    with styled():
        panels = [(lines, plot) for lines, plot in ((leakage, _leakage), (copying, _copying)) if lines]
        drawn = figure(PAGE if len(panels) > 1 else COLUMN, 2.4)
        axes = drawn.subplots(1, max(1, len(panels)), squeeze=False)[0]
        for ax, (lines, plot) in zip(axes, panels, strict=False):
            plot(ax, lines)
        if void:
            stamp_void(drawn)
        return save(drawn, folder, name, ("png", "pdf"))


def _leakage(ax: Axes, lines: Lines) -> None:
    _draw(ax, lines)
    rests_on_split(ax)
    ax.axhline(0.5, color="0.5", linewidth=0.6, linestyle=":")
    ax.set(ylabel="AUC", ylim=(min(0.45, ax.get_ylim()[0]), 1.005))
    ax.legend(loc="upper left")


def _copying(ax: Axes, lines: Lines) -> None:
    _draw(ax, lines)
    ax.axhline(0.0, color="0.5", linewidth=0.6, linestyle=":")
    ax.set(ylabel="copies beyond the null")
    ax.legend(loc="upper left")


def _draw(ax: Axes, lines: Lines) -> None:
    from matplotlib.ticker import MaxNLocator

    for (name, line), marker in zip(lines.items(), "osD^vPX*<>" * len(lines), strict=False):
        steps, found = zip(*line, strict=True)
        (stroke,) = ax.plot(steps, [one.value for one in found], marker=marker, label=name)
        low, high = [one.low for one in found], [one.high for one in found]
        ax.fill_between(steps, low, high, color=stroke.get_color(), alpha=0.15, linewidth=0)
    ax.set(xlabel="training step")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
