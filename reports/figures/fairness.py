"""Whether the attribute can be read off against quality: one panel a reader, one curve a defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.run_folder import RunFolder

from ..fairness import READERS, Fairness, fairness
from ..measured import measure
from ..points import points, quality
from ..tradeoff import distance_name
from .canvas import COLUMN, Missing, entries, figure, legend
from .dots import Dot, axis_of, dots, draw_dots
from .looks import Look, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "AUC at which a reader tells the sensitive attribute of samples, against quality; at 0.5 it cannot, below 0.5 it "
    "tells it the other way round. Lines join a defense's points in the order of its sweep, shades run from light to "
    "full along it. Large markers are means over the seeds with their intervals, small ones seeds."
)


@dataclass(frozen=True)
class Readings:
    """The dots of each reader."""

    panels: dict[str, list[Dot]]
    looks: dict[str, Look]
    distance: str
    floor: float | None


def gather(run: RunFolder) -> Readings:
    """Raises Missing where no reader read the attribute."""
    found = fairness(run)
    panels = {name: _dots(found, reader) for reader, name in READERS.items()}
    panels = {name: placed for name, placed in panels.items() if placed}
    if not panels:
        raise Missing("no record holds `attribute_auc` and `frechet_heldout`")
    return Readings(panels, looks(run, by_point=False), distance_name(run), floor_of(run))


def _dots(found: list[Fairness], reader: str) -> list[Dot]:
    return dots((row.point, row.distance, row.aucs[reader]) for row in found)


def floor_of(run: RunFolder) -> float | None:
    """The distance of real to real images; each point measured the same one, so the first will do."""
    floors = (measure(quality(run, point), "frechet_floor") for point in points(run))
    return next((floor.summary.mean for floor in floors if floor is not None), None)


def draw(data: Readings) -> Figure:
    """One panel a reader, one under the other."""
    drawn = figure(COLUMN, 0.4 + 1.8 * len(data.panels))
    axes = drawn.subplots(len(data.panels), 1, squeeze=False, sharex=True, sharey=True).flatten()
    for ax, (reader, placed) in zip(axes, data.panels.items(), strict=True):
        _panel(ax, reader, placed, data)
    axes[-1].set_xlabel(f"{data.distance} to held-out data")
    legend(drawn, entries(axes, (look.label for look in data.looks.values())))
    return drawn


def _panel(ax: Axes, reader: str, placed: list[Dot], data: Readings) -> None:
    axis = axis_of(placed, data.floor)
    draw_dots(ax, placed, data.looks, axis=axis)
    ax.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="cannot be read")
    if data.floor is not None:
        ax.axvline(data.floor, color="0.45", linewidth=0.7, linestyle="--", zorder=1, label="floor (real vs real)")
    axis.apply(ax)
    ax.set(title=reader, ylabel="attribute AUC", ylim=(-0.03, 1.03))
