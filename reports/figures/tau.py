"""The choice of tau: the published criterion over tau, and what a classifier can tell at the taus that were run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.aggregate import Aggregate
from ..reading.fairness import CLASSIFIERS, AttributeFairness, list_fairness, list_taus
from ..reading.points import find_reference
from ..reading.selection import quality_records
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend
from .dots import error_lengths
from .styles import PointStyle, list_styles
from .values import Values, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Above: the published criterion over tau, one line a seed, with its minimum. Below: the AUC at which a classifier "
    "tells the attribute of samples, at the taus that were run, with intervals; tau of a search is the mean over the "
    "seeds. The baseline never switches, which is tau = 0."
)
STYLES: dict[str, dict[str, Any]] = {
    "attribute_auc": {"linestyle": "-"},
    "attribute_auc_trained": {"linestyle": "--", "markerfacecolor": "white"},
}


@dataclass(frozen=True)
class TauSearch:
    """The criterion at each tau, of one search; `best` is where the search found its minimum."""

    style: PointStyle
    tau: tuple[float, ...]
    criterion: tuple[float, ...]

    @property
    def best(self) -> tuple[float, float]:
        """The least tau of equal minima, and the criterion there."""
        return min(zip(self.tau, self.criterion, strict=True), key=lambda at: (at[1], at[0]))


@dataclass(frozen=True)
class TauReading:
    """A point's AUC at its tau."""

    defense: str
    tau: float
    auc: Aggregate
    style: PointStyle


@dataclass(frozen=True)
class Taus:
    """The searches, and by classifier what was read at each tau."""

    curves: list[TauSearch]
    readings: dict[str, list[TauReading]]


def collect_data(run: RunFolder) -> Taus:
    """Collect the searches. Raises MissingData where no release searched for a tau."""
    styles = list_styles(run)
    curves: list[TauSearch] = []
    for point in run.plan.points:
        for curve in _curves(run, point, styles[point.name]):
            if all((curve.tau, curve.criterion) != (one.tau, one.criterion) for one in curves):
                curves.append(curve)  # points of one base share a search
    if not curves:
        raise MissingData("no release has a `tau_curve`")
    found = [(row, tau) for row in list_fairness(run) if (tau := _tau(run, row.point)) is not None]
    readings = {classifier: _readings(found, classifier, styles) for classifier in CLASSIFIERS}
    return Taus(curves, {classifier: read for classifier, read in readings.items() if read})


def _curves(run: RunFolder, point: PlannedPoint, style: PointStyle) -> list[TauSearch]:
    facts: list[Any] = [record.info.get("defense", {}).get("tau_curve") for record in quality_records(run, point)]
    return [TauSearch(style, tuple(fact["tau"]), tuple(fact["criterion"])) for fact in facts if fact]


def _tau(run: RunFolder, point: PlannedPoint) -> float | None:
    """The mean over the seeds; 0 for the baseline, which never switches."""
    if point == find_reference(run, point):
        return 0.0
    found = list_taus(run, point)
    return sum(found) / len(found) if found else None


def _readings(
    found: list[tuple[AttributeFairness, float]], classifier: str, styles: dict[str, PointStyle]
) -> list[TauReading]:
    read = [(row.point, tau, row.aucs[classifier]) for row, tau in found]
    return [TauReading(point.defense, tau, auc, styles[point.name]) for point, tau, auc in read if auc is not None]


def plot(data: Taus, width: float = COLUMN) -> Figure:
    """Plot the criterion, and where something was read a panel under it, or beside it, on the same axis."""
    from matplotlib.lines import Line2D

    count, beside = 1 + bool(data.readings), width == PAGE
    drawn = figure(width, 1.9 if beside or count == 1 else 3.4)
    axes = drawn.subplots(*((1, count) if beside else (count, 1)), squeeze=False, sharex=True).flatten()
    for curve in data.curves:
        axes[0].plot(curve.tau, curve.criterion, color=curve.style.curve, linewidth=0.8)
        axes[0].plot(*curve.best, "v", color="0.15", markersize=4, label="minimum", zorder=4)
    axes[0].set(ylabel="criterion")
    if data.readings:
        _readings_panel(axes[1], data.readings)
    for ax in axes if beside else axes[-1:]:
        ax.set_xlabel("tau")
    classifiers = {
        CLASSIFIERS[classifier]: Line2D([], [], color="0.4", **STYLES[classifier]) for classifier in data.readings
    }
    legend(drawn, entries(axes) | classifiers)
    return drawn


def _readings_panel(ax: Axes, readings: dict[str, list[TauReading]]) -> None:
    for number, (classifier, read) in enumerate(readings.items()):
        for defense in dict.fromkeys(one.defense for one in read):
            line = sorted((one for one in read if one.defense == defense), key=lambda one: one.tau)
            _line(ax, line, classifier, named=number == 0)
    ax.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="cannot be read")
    ax.set(ylabel="attribute AUC", ylim=(-0.03, 1.03))


def _line(ax: Axes, read: list[TauReading], classifier: str, named: bool) -> None:
    """Plot a defense's points by tau; `named`: in the legend."""
    style, summaries = read[0].style, [one.auc.summary for one in read]
    lengths = [error_lengths(found) or [[0.0], [0.0]] for found in summaries]
    options = STYLES[classifier] | (
        {"markersize": 6.5, "markerfacecolor": "none"} if style.ring else {"markersize": 3.5}
    )
    ax.errorbar(
        [one.tau for one in read],
        [found.mean for found in summaries],
        [[length[side][0] for length in lengths] for side in (0, 1)],
        color=style.curve,
        marker=style.marker,
        label=read[0].defense if named else None,
        linewidth=0.8,
        elinewidth=0.7,
        **options,
    )


def list_values(data: Taus) -> list[Values]:
    """The numbers of the figure: the criterion of each search, then what was read at each tau."""
    found: list[Values] = [
        {"search": number, "tau": tau, "criterion": criterion}
        for number, curve in enumerate(data.curves)
        for tau, criterion in zip(curve.tau, curve.criterion, strict=True)
    ]
    for classifier, read in data.readings.items():
        name = CLASSIFIERS[classifier]
        found += [
            {"classifier": name, "defense": one.defense, "tau": one.tau, **spread("attribute_auc", one.auc.summary)}
            for one in read
        ]
    return found
