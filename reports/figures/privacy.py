"""Leakage and quality against the epsilon that is stated, with infinity at the right end of the axis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, zip_longest
from math import isfinite, log10
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Summary

from ..reading.aggregate import Aggregate
from ..reading.auditing import list_audits
from ..reading.distances import distance_name, floor_mean, heldout_distance
from ..reading.guarantees import find_guarantee
from ..reading.points import find_baseline
from ..reading.standing import read_leak
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend, log_ticks, rests_on_split
from .dots import mark
from .styles import PointStyle, list_styles
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "The strongest attack at DENOISER, and the distance to held-out data, against the epsilon that is stated; at "
    "infinity the baseline and points of the same method that state none. Means over the seeds with their "
    "intervals; lines join a defense's points. Where releases were audited, each seed's lower bound of epsilon (95 %, "
    "one run; grey bars: the ceiling of so many guesses): above the line it exceeds the stated one."
)
LEVEL = "DENOISER"
_GAP = 0.3  # of the range of log epsilon, between the largest epsilon and infinity


@dataclass(frozen=True)
class PrivacyPoint:
    """A point; `epsilon` is None where it states none."""

    point: PlannedPoint
    epsilon: float | None
    auc: Aggregate | None
    distance: Aggregate | None
    bounds: tuple[float, ...] = ()  # of epsilon, one a seed
    ceilings: tuple[float, ...] = ()


@dataclass(frozen=True)
class PrivacyData:
    """Data of the figure. adjacency: of the guarantees; empty where they do not say. by_group: epsilon's unit."""

    budgets: list[PrivacyPoint]
    styles: dict[str, PointStyle]
    distance: str
    floor: float | None
    adjacency: str = ""
    by_group: bool = False

    @property
    def axis(self) -> str:
        """Label of the axis of epsilons."""
        words = ", ".join(filter(None, [self.adjacency, "by group" if self.by_group else ""]))
        return f"epsilon stated ({words})" if words else "epsilon stated"

    @property
    def epsilons(self) -> list[float]:
        """All epsilons that are stated, ascending."""
        return sorted(budget.epsilon for budget in self.budgets if budget.epsilon is not None)

    @property
    def infinity(self) -> float:
        """The place of infinity on the axis."""
        low, high = log10(self.epsilons[0]), log10(self.epsilons[-1])
        return float(10 ** (high + _GAP * max(high - low, 1.0)))


def collect_data(run: RunFolder) -> PrivacyData:
    """Collect the points. Raises MissingData where nothing but controls states an epsilon."""
    # Epsilons by image and by person do not stand on one axis: where some are known by person, none other does.
    by_group = any(p.role != "control" and find_guarantee(run, p).by_group is not None for p in run.plan.points)
    stated = {p: epsilon for p in run.plan.points if (epsilon := _epsilon(run, p, by_group)) is not None}
    methods = {point.method for point in stated}
    if not stated:
        raise MissingData("no release states an epsilon")
    shown = [p for p in run.plan.points if p.role != "control" and (p == find_baseline(run) or p.method in methods)]
    if by_group:  # what states an epsilon by image alone has no place, and is not without one
        shown = [p for p in shown if p in stated or find_guarantee(run, p).epsilon is None]
    found = [_budget(run, point, stated.get(point), by_group) for point in shown]
    adjacency = " / ".join(dict.fromkeys(said for point in stated if (said := find_guarantee(run, point).adjacency)))
    return PrivacyData(
        found, list_styles(run, by_point=False), distance_name(run), floor_mean(run), adjacency, by_group
    )


def _epsilon(run: RunFolder, point: PlannedPoint, by_group: bool) -> float | None:
    guarantee = find_guarantee(run, point)
    epsilon = (guarantee.by_group if by_group else guarantee.epsilon) if point.role != "control" else None
    return epsilon if epsilon and isfinite(epsilon) else None


def _budget(run: RunFolder, point: PlannedPoint, epsilon: float | None, by_group: bool) -> PrivacyPoint:
    auc = read_leak(run, point, LEVEL).auc
    audit = next((audit for audit in list_audits(run) if audit.point == point), None)
    if audit and audit.unit != ("group" if by_group else "image"):
        audit = None
    found = [audit.values(f"epsilon_{which}") for which in ("lower", "ceiling")] if audit else [[], []]
    return PrivacyPoint(point, epsilon, auc, heldout_distance(run, point), *map(tuple, found))


def plot(data: PrivacyData, width: float = COLUMN) -> Figure:
    """Plot two panels, and a third where releases were audited: one under the other, over both columns side by side."""
    audited, beside = any(budget.bounds for budget in data.budgets), width == PAGE
    count = 3 if audited else 2
    drawn = figure(width, 2.2 if beside else 5.2 if audited else 3.6)
    leak, away, *more = drawn.subplots(*((1, count) if beside else (count, 1)), sharex=True)
    _panel(leak, data, {budget.point: budget.auc for budget in data.budgets})
    leak.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="nothing leaks")
    leak.set_ylabel("AUC, strongest attack")
    rests_on_split(leak)
    _panel(away, data, {budget.point: budget.distance for budget in data.budgets})
    _distances(away, data)
    for ax in more:
        _bounds(ax, data)
        if not beside:
            away.set_xlabel("")
    if beside:
        leak.set_xlabel(data.axis)
    legend(drawn, entries([leak, away, *more], (style.label for style in data.styles.values())))
    return drawn


def _bounds(ax: Axes, data: PrivacyData) -> None:
    """Plot lower bounds beside the stated epsilons, and their ceilings."""
    for budget in (budget for budget in data.budgets if budget.bounds):
        x, style = budget.epsilon or data.infinity, data.styles[budget.point.name]
        face = "none" if style.ring else style.colour
        options: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": style.curve, "markersize": 4.0}
        ax.plot([x] * len(budget.bounds), budget.bounds, style.marker, zorder=4, **options)
        ax.plot([x] * len(budget.ceilings), budget.ceilings, "_", color="0.6", markersize=9, label="ceiling")
    top = 1.1 * max(ceiling for budget in data.budgets for ceiling in budget.ceilings)
    below = [x for x in data.epsilons if x < top]
    if below:
        line = [below[0] * (top / below[0]) ** (k / 50) for k in range(-25, 51)]
        ax.plot(line, line, color="0.45", linewidth=0.7, linestyle="-.", zorder=1, label="as stated")
    _axis(ax, data)
    ax.set(xlabel=data.axis, ylabel="epsilon, lower bound", ylim=(-0.03 * top, top))


def _panel(ax: Axes, data: PrivacyData, values: dict[PlannedPoint, Aggregate | None]) -> None:
    placed = [(b.point, b.epsilon or data.infinity, v.summary) for b in data.budgets if (v := values[b.point])]
    for defense in dict.fromkeys(point.defense for point, _, _ in placed):
        curve = sorted((x, y.mean, p.name) for p, x, y in placed if p.defense == defense)
        style = data.styles[curve[0][2]]
        ax.plot(
            [x for x, _, _ in curve], [y for _, y, _ in curve], color=style.curve, linestyle=style.dash, linewidth=0.7
        )
    for point, x, y in placed:
        mark(ax, x, y, data.styles[point.name])
    _axis(ax, data)


def _axis(ax: Axes, data: PrivacyData) -> None:
    """Make the axis logarithmic up to the largest epsilon, then a strip with infinity in it."""
    from matplotlib.ticker import FixedLocator, NullLocator

    first, last, end = data.epsilons[0], data.epsilons[-1], data.infinity
    margin = (end / last) ** 0.5
    stated = sorted(set(data.epsilons))
    decades = [m * 10.0**k for k in range(-4, 8) for m in (1, 3)]
    crowded = len(stated) > 6 or any(high < 1.5 * low for low, high in pairwise(stated))
    ticks = [tick for tick in decades if first / 1.5 <= tick <= last * 1.5] if crowded else stated
    ax.set_xscale("log")
    ax.set_xlim(first / margin, end * margin)
    ax.xaxis.set_major_locator(FixedLocator([*ticks, end]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([*(f"{tick:.3g}" for tick in ticks), "\N{INFINITY}"])
    ax.axvspan(last * margin, end * margin, color="0.95", linewidth=0, zorder=0)


def _distances(ax: Axes, data: PrivacyData) -> None:
    """Finish the second panel: the floor, and a logarithmic axis where the distances are far apart."""
    if data.floor is not None:
        ax.axhline(data.floor, color="0.45", linewidth=0.7, linestyle="--", zorder=1, label="floor (real vs real)")
    ax.set(xlabel=data.axis, ylabel=f"{data.distance}, held-out")
    summaries: list[Summary] = [b.distance.summary for b in data.budgets if b.distance]
    lows = [min(found.mean, found.low) for found in summaries]  # a low that is NaN counts as none
    if summaries and min(lows) > 0 and max(found.mean for found in summaries) > 8 * min(lows):
        log_ticks(ax)


def list_values(data: PrivacyData) -> list[Values]:
    """The numbers of the figure: a row a point, then one for each bound that an audit found."""
    found: list[Values] = []
    for one in data.budgets:
        row: Values = {"point": one.point.name, "epsilon": one.epsilon}
        auc, distance = (value.summary if value else None for value in (one.auc, one.distance))
        found.append({**row, **spread("auc", auc), **spread("distance", distance)})
        bounds = zip_longest(one.bounds, one.ceilings)
        found += [{**row, "epsilon_lower": low, "epsilon_ceiling": ceiling} for low, ceiling in bounds]
    return found
