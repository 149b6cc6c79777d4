"""The trade-off: distance to held-out data against leakage, one panel an access level, one curve a defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.metric_specs import HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import Aggregate
from ..reading.distances import distance_name, floor_mean
from ..reading.points import TRADEOFF_LEVELS
from ..reading.selection import copy_attacks
from ..reading.tradeoff import TradeoffRow, list_rows
from .canvas import PAGE, MissingData, entries, figure, legend, rests_on_split
from .dots import Dot, build_axis, list_dots, plot_dots
from .styles import MANY, PointStyle, list_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Quality against leakage. One panel an access level: the strongest attack's AUC (attack and sign chosen on "
    "calibration images), or copies beyond their null. Lines join a defense's points in the order of its sweep, shades "
    "run from light to full along it. Large markers are means over the seeds with their intervals, small ones seeds."
)
_SAME = 1e-3  # AUCs, or shares, closer than this are one point to the eye


@dataclass(frozen=True)
class LeakagePanel:
    """An access level; `even` is where nothing leaks, `scale` turns the metric into what the axis shows."""

    title: str
    label: str
    dots: list[Dot]
    even: float
    scale: float = 1.0
    compares: bool = False  # members with nonmembers

    @property
    def coincide(self) -> bool:
        """True if all points but the controls leak alike, so that nothing but their distances tells them apart."""
        values = [dot.y.summary.mean for dot in self.dots if dot.role != "control"]
        return len(values) > 1 and max(values) - min(values) < _SAME


@dataclass(frozen=True)
class TradeoffData:
    """Data of the figure."""

    panels: list[LeakagePanel]
    styles: dict[str, PointStyle]
    distance: str
    floor: float | None


def collect_data(run: RunFolder) -> TradeoffData:
    """Collect the panels. Raises MissingData without a distance or without any leakage."""
    found = list_rows(run)
    if not any(row.distances[HELDOUT_DISTANCE] for row in found):
        raise MissingData(f"no record holds `{HELDOUT_DISTANCE}`")
    panels = [_level(found, level) for level in TRADEOFF_LEVELS]
    panels += [_copies(found, attack, label) for attack, label in copy_attacks(run).items()]
    panels = [panel for panel in panels if panel.dots]
    if not panels:
        raise MissingData("no point has both a distance and a membership or replication attack")
    return TradeoffData(panels, list_styles(run), distance_name(run), floor_mean(run))


def _level(found: list[TradeoffRow], level: str) -> LeakagePanel:
    leakage = {row.point.name: row.leaks[level].auc for row in found}
    return LeakagePanel(level, "AUC of the strongest attack", _dots(found, leakage), 0.5, compares=True)


def _copies(found: list[TradeoffRow], attack: str, label: str) -> LeakagePanel:
    shares = {row.point.name: row.copies[attack] for row in found}
    return LeakagePanel(f"SAMPLES ({label})", "copies beyond null (%)", _dots(found, shares), 0.0, scale=100)


def _dots(found: list[TradeoffRow], leakage: dict[str, Aggregate | None]) -> list[Dot]:
    return list_dots((row.point, row.distances[HELDOUT_DISTANCE], leakage[row.point.name]) for row in found)


def plot(data: TradeoffData) -> Figure:
    """Plot up to three panels in a row, four in a square."""
    columns = len(data.panels) if len(data.panels) <= 3 else 2
    lines = -(-len(data.panels) // columns)
    drawn = figure(PAGE, (2.0 if len(data.styles) <= MANY else 2.6) * lines)
    grid = drawn.subplots(lines, columns, squeeze=False).flatten()
    axes = grid[: len(data.panels)]
    for ax, panel in zip(axes, data.panels, strict=True):
        _panel(ax, panel, data)
    for ax in grid[len(data.panels) :]:
        ax.set_axis_off()
    _same_heights([ax for ax, panel in zip(axes, data.panels, strict=True) if panel.compares])
    legend(drawn, entries(axes, (style.label for style in data.styles.values())))
    return drawn


def _panel(ax: Axes, panel: LeakagePanel, data: TradeoffData) -> None:
    axis = build_axis(panel.dots, data.floor)
    plot_dots(ax, panel.dots, data.styles, panel.scale, axis)
    ax.axhline(panel.even, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="nothing leaks")
    if data.floor is not None:
        ax.axvline(data.floor, color="0.45", linewidth=0.7, linestyle="--", zorder=1, label="floor (real vs real)")
    axis.apply(ax)
    if panel.compares:
        rests_on_split(ax)
    ax.set(title=panel.title, xlabel=f"{data.distance} to held-out data", ylabel=panel.label)


def _same_heights(axes: list[Axes]) -> None:
    """Give AUC panels the same range, lest an empty one looks like a full one."""
    limits = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
