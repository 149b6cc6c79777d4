"""The trade-off: distance to held-out data against leakage, one panel an access level, one curve a defense."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import Aggregate
from ..reading.copy_rank import rank_excess
from ..reading.distances import distance_name, floor_mean
from ..reading.marks import find_marks
from ..reading.points import TRADEOFF_LEVELS
from ..reading.selection import copy_attacks
from ..reading.shown import ALL, name_strongest, shows_column
from ..reading.tradeoff import TradeoffRow, list_rows
from ..reading.void import list_void_reasons
from .canvas import PAGE, MissingData, entries, figure, legend, panel_grid, panels_across, rests_on_split
from .dots import Dot, build_axis, dot_values, list_dots, plot_dots
from .styles import MANY, PointStyle, list_styles
from .values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Quality against leakage. One panel an access level: the AUC of the attack that shows the most, by an interval "
    "corrected for all attacks on the release, or copies beyond their null. Lines join a defense's points in the order "
    "of its sweep, shades run from light to full along it. Large markers are means over the seeds with their "
    "intervals, small ones seeds. "
    "The broad grey line joins the points that no other betters in both (by their means, fewer copies than the null "
    "counting as none; controls, ablations and rows that mean nothing aside)."
)
_LEAST = 1.6  # inches of a panel
_AUC = "AUC of the strongest attack"
_SHORT = {_AUC: "AUC, strongest attack"}  # for a panel of half a column
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
    name: str = ""  # as `--columns` calls it
    front: tuple[str, ...] = ()  # points that no other betters in both, by the least distance

    @property
    def leakage(self) -> dict[str, float]:
        """Leakage of each point as it ranks: the distance of an AUC from 1/2, and copies beyond the null from 0 up."""
        means = {dot.name: dot.y.summary.mean for dot in self.dots}
        if self.compares:
            return {name: abs(mean - self.even) for name, mean in means.items()}
        return {name: rank_excess(mean) for name, mean in means.items()}

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
    label = _AUC if name_strongest(run) == ALL else "AUC, strongest of those shown"
    panels = [_level(found, level, label) for level in TRADEOFF_LEVELS]
    panels += [_copies(found, attack, label) for attack, label in copy_attacks(run).items()]
    panels = [_with_front(run, panel) for panel in panels if panel.dots and shows_column(run, panel.name)]
    if not panels:
        raise MissingData("no point has both a distance and a membership or replication attack")
    return TradeoffData(panels, list_styles(run), distance_name(run), floor_mean(run))


def list_panels(run: RunFolder) -> list[str]:
    """The names of the panels that a run has data for."""
    try:
        return [panel.name for panel in collect_data(run).panels]
    except MissingData:
        return []


def _level(found: list[TradeoffRow], level: str, label: str) -> LeakagePanel:
    leakage = {row.point.name: row.leaks[level].auc for row in found}
    name = f"{level.lower()}_auc"
    return LeakagePanel(level, label, _dots(found, leakage), 0.5, compares=True, name=name)


def _copies(found: list[TradeoffRow], attack: str, label: str) -> LeakagePanel:
    shares = {row.point.name: row.copies[attack] for row in found}
    return LeakagePanel(
        f"SAMPLES ({label})", "copies beyond null (%)", _dots(found, shares), 0.0, 100, name=f"{COPY_EXCESS}_{label}"
    )


def _with_front(run: RunFolder, panel: LeakagePanel) -> LeakagePanel:
    """The panel with its Pareto front. On a void track there is none; controls, ablations and rows that mean
    nothing stay out."""
    if list_void_reasons(run):
        return panel
    able = [dot for dot in panel.dots if dot.role not in ("control", "ablation") and not find_marks(run, dot.name)]
    front, least = list[str](), inf
    for dot in sorted(able, key=lambda dot: (dot.x.summary.mean, panel.leakage[dot.name])):
        if panel.leakage[dot.name] < least:
            front.append(dot.name)
            least = panel.leakage[dot.name]
    return replace(panel, front=tuple(front))


def list_values(data: TradeoffData) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"panel": panel.title, **dot_values(dot, "distance", "leakage"), "pareto": dot.name in panel.front}
        for panel in data.panels
        for dot in panel.dots
    ]


def _dots(found: list[TradeoffRow], leakage: dict[str, Aggregate | None]) -> list[Dot]:
    return list_dots((row.point, row.distances[HELDOUT_DISTANCE], leakage[row.point.name]) for row in found)


def plot(data: TradeoffData, width: float = PAGE) -> Figure:
    """Plot up to three panels in a row of a page, four in a square; one column holds one beside the other."""
    count = len(data.panels)
    across = panels_across(count, width, _LEAST) if count <= 3 else 2
    tall = 1.0 if width == PAGE else 0.85
    drawn = figure(width, (2.0 if len(data.styles) <= MANY else 2.6) * tall * -(-count // across))
    (axes,) = panel_grid(drawn, 1, count, across)
    for ax, panel in zip(axes, data.panels, strict=True):
        _panel(ax, panel, data)
        if width < PAGE:
            ax.set(xlabel=f"{data.distance}, held-out", ylabel=_SHORT.get(panel.label, panel.label))
    _same_heights([ax for ax, panel in zip(axes, data.panels, strict=True) if panel.compares])
    legend(drawn, entries(axes, (style.label for style in data.styles.values())))
    return drawn


def _panel(ax: Axes, panel: LeakagePanel, data: TradeoffData) -> None:
    axis = build_axis(panel.dots, data.floor)
    plot_dots(ax, panel.dots, data.styles, panel.scale, axis)
    dots = {dot.name: dot for dot in panel.dots}
    front = [(dots[name].x.summary.mean, dots[name].y.summary.mean * panel.scale) for name in panel.front]
    if len(front) > 1:
        ax.plot(*zip(*front, strict=True), color="0.8", linewidth=3.5, zorder=1, label="Pareto front, of the means")
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
