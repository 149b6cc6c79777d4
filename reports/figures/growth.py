"""Growth of the number of distinct training images copied with the number of samples, one panel an attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary

from ..reading.attack_results import AttackResult
from ..reading.replication import list_copy_results
from ..reading.strongest import representative_points
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend, panel_grid, panels_across, strip_inner
from .dots import mark
from .styles import PointStyle, list_styles, turns
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Distinct training images copied (beyond the calibrated threshold, chance copies included) against the number of "
    "samples: expectations at an eighth, a quarter and half of the samples, and what all of them copied. Means over "
    "the seeds with their intervals. Shown are no protection and each defense at its point of least copying."
)
PANELS = 4  # attacks: those of the trade-off come first
_AT = "unique_copies@samples="
_LEAST = 1.6  # inches of a panel
_BESIDE = 0.09  # of a doubling, between points that are drawn at the same number of samples


@dataclass(frozen=True)
class Growth:
    """Data of the figure: by attack and point, the number of samples with the copies among them."""

    panels: dict[str, dict[str, dict[int, Summary]]]
    styles: dict[str, PointStyle]


def collect_data(run: RunFolder) -> Growth:
    """Collect the counts. Raises MissingData where no attack counted copies among fewer samples."""
    panels: dict[str, dict[str, dict[int, Summary]]] = {}
    for point in (point for point in representative_points(run) if point.role != "control"):
        for row in list_copy_results(run, point):
            if grown := _grown(row):
                panels.setdefault(row.attack, {})[point.name] = grown
    if not panels:
        raise MissingData("no record counts copies among fewer samples")
    return Growth(dict(list(panels.items())[:PANELS]), list_styles(run))


def _grown(row: AttackResult) -> dict[int, Summary]:
    names = {m.name for record in row.records for m in record.metrics if m.name.startswith(_AT)}
    found = {int(name.removeprefix(_AT)): row.aggregate(name) for name in names}
    whole = row.aggregate("unique_copies")
    if found and whole is not None:
        found[min(one.n for one in whole.by_seed.values())] = whole
    return {size: found[size].summary for size in sorted(found) if found[size] is not None}  # type: ignore[union-attr]


def plot(data: Growth, width: float | None = None) -> Figure:
    """Plot the attacks side by side; many defenses in several rows."""
    rows = turns((name for points in data.panels.values() for name in points), data.styles)
    width = width or (COLUMN if len(data.panels) == 1 else PAGE)
    across = panels_across(len(data.panels), width, _LEAST, len(rows))
    lines = len(rows) * -(-len(data.panels) // across)
    drawn = figure(width, 2.1 if lines == 1 else 1.8 * lines)
    grid = panel_grid(drawn, len(rows), len(data.panels), across, share_x="all", share_y="panel")
    for names, axes in zip(rows, grid, strict=True):
        for ax, (attack, points) in zip(axes, data.panels.items(), strict=True):
            _panel(ax, attack, {name: points[name] for name in names if name in points}, data.styles)
    strip_inner(grid)
    for ax in grid[0][::across]:
        ax.set_ylabel("training images copied")
    legend(drawn, entries(ax for row in grid for ax in row), dashed=True)
    return drawn


def _panel(ax: Axes, attack: str, points: dict[str, dict[int, Summary]], styles: dict[str, PointStyle]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    sizes = sorted({size for grown in points.values() for size in grown})
    for i, (name, grown) in enumerate(points.items()):
        beside = 2 ** (_BESIDE * (i - (len(points) - 1) / 2))
        places = [size * beside for size in grown]
        style = styles[name]
        ax.plot(places, [one.mean for one in grown.values()], color=style.curve, linestyle=style.dash, linewidth=0.7)
        for place, one in zip(places, grown.values(), strict=True):
            mark(ax, place, one, style)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([str(size) for size in sizes])
    ax.set(title=attack, xlabel="samples")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))


def list_values(data: Growth) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"attack": attack, "point": name, "samples": size, **spread("copied", one)}
        for attack, points in data.panels.items()
        for name, grown in points.items()
        for size, one in grown.items()
    ]
