"""A point of the plan in a panel of two quantities: its mean with both intervals, its seeds, its defense's curve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf, isnan
from typing import TYPE_CHECKING, Any

from leakbench.results.run_plan import COMPARED, PlannedPoint
from leakbench.statistics import Summary

from ..reading.aggregate import Aggregate
from .strip import Strip, crowded, strip
from .styles import PointStyle
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STAR = "*"


@dataclass(frozen=True)
class Dot:
    """A point in one panel: `x` and `y` seed by seed."""

    name: str
    defense: str
    role: str
    x: Aggregate
    y: Aggregate


def list_dots(found: Iterable[tuple[PlannedPoint, Aggregate | None, Aggregate | None]]) -> list[Dot]:
    """Dots of the points that have both quantities."""
    return [
        Dot(point.name, point.defense, point.role, x, y) for point, x, y in found if x is not None and y is not None
    ]


def build_axis(found: list[Dot], floor: float | None = None) -> Strip:
    """An axis of distances that holds all but the far controls, and the floor if there is one."""
    summaries = [dot.x.summary for dot in found if dot.role != "control"]
    near = [summary.mean for summary in summaries] + ([] if floor is None else [floor])
    # On a logarithmic axis an interval that ends near 0 leaves to the left: it would take all the room there is.
    least = min(near) / 2 if near and crowded(near) else -inf
    near += [max(x, least) for summary in summaries for x in (summary.low, summary.high) if not isnan(x)]
    controls = [dot.x.summary for dot in found if dot.role == "control"]
    axis = strip(near, [summary.mean for summary in controls])
    beside = [summary for summary in controls if summary.mean not in axis.far]
    near += [max(x, least) for summary in beside for x in (summary.low, summary.high) if not isnan(x)]
    return strip(near, list(axis.far))


def plot_dots(
    ax: Axes, found: list[Dot], styles: dict[str, PointStyle], scale: float = 1.0, axis: Strip | None = None
) -> None:
    """Plot the curves, then the points. `scale` turns y into what the axis shows; `axis` places x (see strip.py)."""
    for defense in dict.fromkeys(dot.defense for dot in found if dot.role in COMPARED):
        curve = [dot for dot in found if dot.defense == defense and dot.role in COMPARED]
        x, y = [dot.x.summary.mean for dot in curve], [dot.y.summary.mean * scale for dot in curve]
        first = styles[curve[0].name]
        ax.plot(x, y, color=first.curve, linestyle=first.dash, linewidth=0.7, zorder=2)
    for dot in found:
        _plot_dot(ax, dot, styles[dot.name], scale, axis)


def _plot_dot(ax: Axes, dot: Dot, style: PointStyle, scale: float, axis: Strip | None) -> None:
    x, y = dot.x.summary, dot.y.summary
    far = axis is not None and x.mean in axis.far
    for seed in sorted(dot.x.by_seed.keys() & dot.y.by_seed.keys()) if x.seeds > 1 and not far else ():
        place = dot.x.by_seed[seed].value, dot.y.by_seed[seed].value * scale
        ax.plot(*place, style.marker, color=style.colour, markersize=2.2, markeredgewidth=0, alpha=0.6, zorder=3)
    mark(ax, axis.place(x.mean) if axis else x.mean, y, style, scale, None if far else error_lengths(x))


def mark(
    ax: Axes, x: float, y: Summary, style: PointStyle, scale: float = 1.0, xerr: list[list[float]] | None = None
) -> None:
    """Plot one marker with its interval in y, and in x where given."""
    options: dict[str, Any] = {"color": style.colour, "markeredgecolor": style.curve, "markeredgewidth": 0.5}
    options |= {"elinewidth": 0.7, "zorder": 4}
    if style.hollow:
        options |= {"markerfacecolor": "white"}
    if style.ring:
        options |= {"markerfacecolor": "none", "markersize": 7.5, "markeredgewidth": 1.1, "zorder": 5}
    if style.marker == _STAR:
        options |= {"markersize": 8}
    ax.errorbar(x, y.mean * scale, error_lengths(y, scale), xerr, fmt=style.marker, label=style.label, **options)


def error_lengths(found: Summary, scale: float = 1.0) -> list[list[float]] | None:
    """Lengths of an error bar; an interval beside its value (as a bootstrap can give) has none on that side."""
    if isnan(found.low):
        return None
    return [[max(0.0, found.mean - found.low) * scale], [max(0.0, found.high - found.mean) * scale]]


def as_star(style: PointStyle) -> PointStyle:
    """The same options with a star for a marker, for a point that the figure's others are compared with."""
    return replace(style, marker=_STAR)


def dot_values(dot: Dot, x: str, y: str) -> Values:
    """The numbers of a point: the two quantities, by these names, over the seeds."""
    return {
        "point": dot.name,
        "defense": dot.defense,
        "role": dot.role,
        **spread(x, dot.x.summary),
        **spread(y, dot.y.summary),
        "seeds": dot.y.summary.seeds,
    }
