"""Recovery of a forgotten label: its probability against the attacker's steps, one panel a way to bring it back."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Estimate, Summary

from ..reading.aggregate import aggregate, summarise
from ..reading.selection import quality_records
from ..reading.unlearning import UnlearningResult, list_curves
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend, panel_grid, panels_across, strip_inner
from .dots import error_lengths
from .styles import PointStyle, list_styles, turns
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Probability of the forgotten label, on samples asked for it, against the attacker's steps: each defense at its "
    "point of least forget probability, the model from before where it was attacked too, and the model retrained "
    "without the label (grey, dashed). A release that comes back sooner than the retrained model learns it has not "
    "forgotten. Means over samples and seeds with their 95 % intervals; dotted: half of real images' level."
)

_LEAST = 2.0  # inches of a panel


@dataclass(frozen=True)
class Line:
    """Steps, and the mean probability at each."""

    steps: tuple[int, ...]
    means: tuple[Summary, ...]


@dataclass(frozen=True)
class RecoveryPanel:
    """A way to bring a label back; `retrained` has each distinct curve of the retrained model once."""

    title: str
    lines: dict[str, Line]
    retrained: list[Line]
    level: float


@dataclass(frozen=True)
class Relearning:
    """Data of the figure."""

    panels: list[RecoveryPanel]
    styles: dict[str, PointStyle]


def collect_data(run: RunFolder) -> Relearning:
    """Collect the curves. Raises MissingData where no attack kept any."""
    shown, rows = _shown(run), list_curves(run)
    names = list(dict.fromkeys(row.name for row in rows))
    panels = [_panel_data(run, [row for row in rows if row.name == name and row.point in shown]) for name in names]
    kept = [panel for panel in panels if panel is not None]
    if not kept:
        raise MissingData("no attack on unlearning kept curves")
    return Relearning(kept, list_styles(run))


def _shown(run: RunFolder) -> list[PlannedPoint]:
    """Baselines, and each defense at its point of least forget probability; equals go to the first."""
    found: dict[str, tuple[float, PlannedPoint]] = {}
    for point in run.plan.points:
        measured = aggregate(quality_records(run, point), "forget_probability")
        probability = measured.summary.mean if measured else 1.0
        if point.role != "control" and (point.defense not in found or probability < found[point.defense][0]):
            found[point.defense] = (probability, point)
    return [point for _, point in found.values()]


def _panel_data(run: RunFolder, rows: list[UnlearningResult]) -> RecoveryPanel | None:
    ours = {row.point.name: line for row in rows if (line := _line(run, row, "model")) is not None}
    null = [line for row in rows if (line := _line(run, row, "retrained")) is not None]
    levels = [record.info.get(f"{row.name}_level") for row in rows for record in row.records]
    level = [float(one) for one in levels if isinstance(one, float)]
    if not ours:
        return None
    return RecoveryPanel(rows[0].what, ours, list(dict.fromkeys(null)), sum(level) / len(level) if level else 0.0)


def _line(run: RunFolder, row: UnlearningResult, side: str) -> Line | None:
    """A curve over the seeds; None where a seed kept none, or looked at other steps."""
    found = [run.arrays(record) for record in row.records]
    names = (f"{row.name}_steps", f"{row.name}_{side}")
    if any(name not in arrays for arrays in found for name in names):
        return None
    steps = {tuple(int(step) for step in arrays[names[0]]) for arrays in found}
    if len(steps) != 1:
        return None
    each = [[_mean(values) for values in arrays[names[1]]] for arrays in found]
    means = tuple(summarise("probability", [seed[k] for seed in each]) for k in range(len(each[0])))
    return Line(steps.pop(), means)


def _mean(values: np.ndarray) -> Estimate:
    mean, half = float(values.mean()), 1.96 * float(values.std(ddof=1)) / sqrt(values.size)
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), values.size)


def plot(data: Relearning, width: float | None = None) -> Figure:
    """Plot the panels side by side; many defenses in several rows."""
    rows = turns((name for panel in data.panels for name in panel.lines), data.styles)
    width = width or (COLUMN if len(data.panels) == 1 else PAGE)
    across = panels_across(len(data.panels), width, _LEAST, len(rows))
    lines = len(rows) * -(-len(data.panels) // across)
    drawn = figure(width, 2.2 if lines == 1 else 1.8 * lines)
    grid = panel_grid(drawn, len(rows), len(data.panels), across, share_x="panel", share_y="all")
    for names, axes in zip(rows, grid, strict=True):
        for ax, panel in zip(axes, data.panels, strict=True):
            _panel(ax, panel, names, data.styles)
        for ax in axes[::across]:
            ax.set_ylabel("forget probability")
        for ax in axes:
            ax.set_xlabel("steps")
    strip_inner(grid)
    legend(drawn, entries(ax for row in grid for ax in row), dashed=True)
    return drawn


def _panel(ax: Axes, panel: RecoveryPanel, names: list[str], styles: dict[str, PointStyle]) -> None:
    for line in panel.retrained:
        _plot_line(ax, line, {"color": "0.45", "linestyle": "--", "label": "retrained without it", "zorder": 5})
    for name in (name for name in names if name in panel.lines):
        its = styles[name]
        options = {"color": its.curve, "linestyle": its.dash, "marker": its.marker, "markersize": 3.0, "label": name}
        if its.ring:
            options |= {"markerfacecolor": "none", "markersize": 4.5}
        _plot_line(ax, panel.lines[name], options)
    ax.axhline(panel.level, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="half of real images")
    steps = sorted({step for line in panel.lines.values() for step in line.steps})
    ax.set_xscale("symlog", base=2, linthresh=1)
    ax.set_xticks(steps, [str(step) for step in steps])
    ax.minorticks_off()
    ax.set(title=panel.title, ylim=(-0.03, 1.03), xlim=(-0.3, steps[-1] * 1.25))


def _plot_line(ax: Axes, line: Line, options: dict[str, Any]) -> None:
    values = [one.mean for one in line.means]
    below, above = zip(
        *((lengths[0][0], lengths[1][0]) for one in line.means if (lengths := error_lengths(one))), strict=True
    )
    ax.errorbar(line.steps, values, [below, above], linewidth=0.9, elinewidth=0.6, **options)


def list_values(data: Relearning) -> list[Values]:
    """The numbers of the figure."""
    lines = [
        (panel.title, name, line)
        for panel in data.panels
        for name, line in (*panel.lines.items(), *(("retrained without it", line) for line in panel.retrained))
    ]
    return [
        {"panel": title, "point": name, "steps": step, **spread("forget_probability", mean)}
        for title, name, line in lines
        for step, mean in zip(line.steps, line.means, strict=True)
    ]
