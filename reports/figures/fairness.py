"""Attribute AUC against quality: one panel a classifier, one curve a defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.metric_specs import HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder

from ..reading.distances import distance_name, floor_mean
from ..reading.fairness import CLASSIFIERS, AttributeFairness, list_fairness
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend
from .dots import Dot, build_axis, dot_values, list_dots, plot_dots
from .styles import PointStyle, list_styles
from .values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "AUC at which a classifier tells the sensitive attribute of samples, against quality; at 0.5 it cannot, below 0.5 "
    "it tells it the other way round. Lines join a defense's points in the order of its sweep, shades run from light "
    "to full along it. Large markers are means over the seeds with their intervals, small ones seeds."
)


@dataclass(frozen=True)
class Readings:
    """The dots of each classifier."""

    panels: dict[str, list[Dot]]
    styles: dict[str, PointStyle]
    distance: str
    floor: float | None


def collect_data(run: RunFolder) -> Readings:
    """Collect the dots. Raises MissingData where no classifier read the attribute."""
    found = list_fairness(run)
    panels = {name: _dots(found, classifier) for classifier, name in CLASSIFIERS.items()}
    panels = {name: placed for name, placed in panels.items() if placed}
    if not panels:
        raise MissingData(f"no record holds `attribute_auc` and `{HELDOUT_DISTANCE}`")
    return Readings(panels, list_styles(run, by_point=False), distance_name(run), floor_mean(run))


def _dots(found: list[AttributeFairness], classifier: str) -> list[Dot]:
    return list_dots((row.point, row.distance, row.aucs[classifier]) for row in found)


def plot(data: Readings, width: float = COLUMN) -> Figure:
    """Plot one panel a classifier: in one column one under the other, over both side by side."""
    count, beside = len(data.panels), width == PAGE
    drawn = figure(width, 2.4 if beside else 0.4 + 1.8 * count)
    shape = (1, count) if beside else (count, 1)
    axes = drawn.subplots(*shape, squeeze=False, sharex=True, sharey=True).flatten()
    for ax, (classifier, placed) in zip(axes, data.panels.items(), strict=True):
        _panel(ax, classifier, placed, data)
    for ax in axes if beside else axes[-1:]:
        ax.set_xlabel(f"{data.distance} to held-out data")
    legend(drawn, entries(axes, (style.label for style in data.styles.values())))
    return drawn


def _panel(ax: Axes, classifier: str, placed: list[Dot], data: Readings) -> None:
    axis = build_axis(placed, data.floor)
    plot_dots(ax, placed, data.styles, axis=axis)
    ax.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="cannot be read")
    if data.floor is not None:
        ax.axvline(data.floor, color="0.45", linewidth=0.7, linestyle="--", zorder=1, label="floor (real vs real)")
    axis.apply(ax)
    ax.set(title=classifier, ylabel="attribute AUC", ylim=(-0.03, 1.03))


def list_values(data: Readings) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"classifier": name, **dot_values(dot, "distance", "attribute_auc")}
        for name, dots in data.panels.items()
        for dot in dots
    ]
