"""Leakage by class: the strongest attack's AUC within each class, without protection and with each defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder

from ..reading.exposure import LEVEL, MANY, Exposure, list_exposures
from .canvas import PAGE, MissingData, entries, figure, legend, rests_on_split
from .dots import mark
from .styles import PointStyle, list_styles, turns
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    f"AUC of the strongest attack at {LEVEL} within each class: members against nonmembers of the same class, with the "
    "sign that all calibration images asked for. Means over the seeds with their intervals, which are not adjusted for "
    "the number of classes. Shown are no protection and each defense at its point of least copying."
)
_SPREAD = 0.7  # of the room between two classes, that the points of one class take


@dataclass(frozen=True)
class Classes:
    """Data of the figure."""

    found: list[Exposure]
    styles: dict[str, PointStyle]

    @property
    def labels(self) -> list[int]:
        """Labels of all classes, ascending."""
        return sorted({one.label for exposure in self.found for one in exposure.classes})


def collect_data(run: RunFolder) -> Classes:
    """Collect the exposures by class. Raises MissingData without labelled scores, or of too many classes."""
    data = Classes([one for one in list_exposures(run) if one.classes], list_styles(run))
    if not data.found:
        raise MissingData("no membership attack with raw scores of labelled images, five a side and class")
    if len(data.labels) > MANY:
        raise MissingData(f"{len(data.labels)} classes are more than a figure can show")
    return data


def plot(data: Classes, width: float = PAGE) -> Figure:
    """Plot one panel; many defenses in several rows."""
    rows = turns((one.point.name for one in data.found), data.styles)
    drawn = figure(width, 2.2 if len(rows) == 1 else 1.7 * len(rows))
    axes = drawn.subplots(len(rows), 1, squeeze=False, sharex=True, sharey=True).flatten()
    for ax, names in zip(axes, rows, strict=True):
        _panel(ax, [one for one in data.found if one.point.name in names], data)
        rests_on_split(ax)
    axes[-1].set_xlabel("class")
    legend(drawn, entries(axes))
    return drawn


def _panel(ax: Axes, found: list[Exposure], data: Classes) -> None:
    places = {label: place for place, label in enumerate(data.labels)}
    for i, exposure in enumerate(found):
        beside = _SPREAD * ((i + 0.5) / len(found) - 0.5)
        for one in exposure.classes:
            mark(ax, places[one.label] + beside, one.auc.summary, data.styles[exposure.point.name])
    ax.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="nothing leaks")
    for place in range(1, len(places)):
        ax.axvline(place - 0.5, color="0.85", linewidth=0.5, zorder=0)
    options: dict[str, Any] = {"xlim": (-0.5, len(places) - 0.5), "ylabel": "AUC within the class"}
    ax.set(**options)
    ax.set_xticks(list(places.values()), [str(label) for label in places])
    ax.grid(visible=False, axis="x")


def list_values(data: Classes) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"point": exposure.point.name, "class": one.label, **spread("auc", one.auc.summary)}
        for exposure in data.found
        for one in exposure.classes
    ]
