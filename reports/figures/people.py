"""People rather than pictures: the strongest attack by image, by person, and by other images of the person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder

from ..reading.exposure import LEVEL
from ..reading.persons import UNITS, UnitLeaks, list_unit_leaks
from ..reading.strongest import representative_points
from .canvas import PAGE, MissingData, entries, figure, legend, rests_on_split
from .dots import mark
from .styles import PointStyle, list_styles
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = (
    f"AUC of the strongest attack at {LEVEL} on three questions: was this image used, were these images of the person "
    "used (one score a person), and was anything of the person used, asked by images on which nothing was trained. "
    "Means over the seeds with their intervals, corrected for all attacks and questions on a release. Shown are no "
    "protection, each defense at its point of least copying, and the controls."
)
_LABELS = {"image": "by image", "person": "by person", "identity": "by other images"}
_SPREAD = 0.6  # of the room between two questions, that the points of one take


@dataclass(frozen=True)
class People:
    """Data of the figure."""

    found: list[UnitLeaks]
    styles: dict[str, PointStyle]

    @property
    def units(self) -> list[str]:
        """The questions that were asked of some point."""
        return [unit for unit in UNITS if any(unit in row.by_unit for row in self.found)]


def collect_data(run: RunFolder) -> People:
    """Collect the leaks by question. Raises MissingData where no attack was asked about persons."""
    shown = {point.name for point in representative_points(run)}
    found = [row for row in list_unit_leaks(run) if LEVEL in row.levels and row.point.name in shown]
    if not found:
        raise MissingData(f"no membership attack at {LEVEL} was asked about persons of several images")
    return People(found, list_styles(run))


def plot(data: People, width: float = PAGE) -> Figure:
    """Plot one panel."""
    drawn = figure(width, 2.4)
    ax = drawn.subplots()
    for i, row in enumerate(data.found):
        beside = _SPREAD * ((i + 0.5) / len(data.found) - 0.5)
        for place, unit in enumerate(data.units):
            if unit in row.by_unit and (area := row.by_unit[unit].auc) is not None:
                mark(ax, place + beside, area.summary, data.styles[row.point.name])
    ax.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="nothing leaks")
    for place in range(1, len(data.units)):
        ax.axvline(place - 0.5, color="0.85", linewidth=0.5, zorder=0)
    options: dict[str, Any] = {"xlim": (-0.5, len(data.units) - 0.5), "ylabel": "AUC, strongest attack"}
    ax.set(**options)
    ax.set_xticks(range(len(data.units)), [_LABELS[unit] for unit in data.units])
    ax.grid(visible=False, axis="x")
    rests_on_split(ax)
    legend(drawn, entries([ax]))
    return drawn


def list_values(data: People) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"point": row.point.name, "unit": unit, "attack": leak.attack, **spread("auc", leak.auc.summary)}
        for row in data.found
        for unit, leak in row.by_unit.items()
        if leak.auc is not None
    ]
