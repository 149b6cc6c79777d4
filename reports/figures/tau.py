"""How tau was chosen: the published criterion over tau, and what a reader can tell at the taus that were run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leakbench.results.run_folder import RunFolder

from ..fairness import READERS, Fairness, fairness, taus
from ..measured import Measured
from ..points import Point, points, quality, reference
from .canvas import COLUMN, Missing, entries, figure, legend
from .dots import reach
from .looks import Look, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Above: the published criterion over tau, one line a seed, with its minimum. Below: the AUC at which a reader "
    "tells the attribute of samples, at the taus that were run, with intervals; tau of a search is the mean over the "
    "seeds. The baseline never switches, which is tau = 0."
)
STYLES: dict[str, dict[str, Any]] = {
    "attribute_auc": {"linestyle": "-"},
    "attribute_auc_trained": {"linestyle": "--", "markerfacecolor": "white"},
}


@dataclass(frozen=True)
class Curve:
    """The criterion at each tau, of one search; `best` is where the search found its minimum."""

    look: Look
    tau: tuple[float, ...]
    criterion: tuple[float, ...]

    @property
    def best(self) -> tuple[float, float]:
        """The least tau of equal minima, and the criterion there."""
        return min(zip(self.tau, self.criterion, strict=True), key=lambda at: (at[1], at[0]))


@dataclass(frozen=True)
class Reading:
    """One point's AUC at its tau."""

    defense: str
    tau: float
    auc: Measured
    look: Look


@dataclass(frozen=True)
class Taus:
    """The searches, and by reader what was read at each tau."""

    curves: list[Curve]
    readings: dict[str, list[Reading]]


def gather(run: RunFolder) -> Taus:
    """Raises Missing where no release searched for a tau."""
    look = looks(run)
    curves: list[Curve] = []
    for point in points(run):
        for curve in _curves(run, point, look[point.name]):
            if all((curve.tau, curve.criterion) != (one.tau, one.criterion) for one in curves):
                curves.append(curve)  # points of one base share a search
    if not curves:
        raise Missing("no release has a `tau_curve`")
    found = [(row, tau) for row in fairness(run) if (tau := _tau(run, row.point)) is not None]
    readings = {reader: _readings(found, reader, look) for reader in READERS}
    return Taus(curves, {reader: read for reader, read in readings.items() if read})


def _curves(run: RunFolder, point: Point, look: Look) -> list[Curve]:
    facts: list[Any] = [record.info.get("defense", {}).get("tau_curve") for record in quality(run, point)]
    return [Curve(look, tuple(fact["tau"]), tuple(fact["criterion"])) for fact in facts if fact]


def _tau(run: RunFolder, point: Point) -> float | None:
    """The mean over the seeds; 0 for the baseline, which never switches."""
    if point == reference(run, point):
        return 0.0
    found = taus(run, point)
    return sum(found) / len(found) if found else None


def _readings(found: list[tuple[Fairness, float]], reader: str, look: dict[str, Look]) -> list[Reading]:
    read = [(row.point, tau, row.aucs[reader]) for row, tau in found]
    return [Reading(point.defense, tau, auc, look[point.name]) for point, tau, auc in read if auc is not None]


def draw(data: Taus) -> Figure:
    """The criterion, and where something was read a panel under it on the same axis."""
    from matplotlib.lines import Line2D

    drawn = figure(COLUMN, 3.4 if data.readings else 1.9)
    axes = drawn.subplots(1 + bool(data.readings), 1, squeeze=False, sharex=True).flatten()
    for curve in data.curves:
        axes[0].plot(curve.tau, curve.criterion, color=curve.look.curve, linewidth=0.8)
        axes[0].plot(*curve.best, "v", color="0.15", markersize=4, label="minimum", zorder=4)
    axes[0].set(ylabel="criterion")
    if data.readings:
        _readings_panel(axes[1], data.readings)
    axes[-1].set_xlabel("tau")
    readers = {READERS[reader]: Line2D([], [], color="0.4", **STYLES[reader]) for reader in data.readings}
    legend(drawn, entries(axes) | readers)
    return drawn


def _readings_panel(ax: Axes, readings: dict[str, list[Reading]]) -> None:
    for number, (reader, read) in enumerate(readings.items()):
        for defense in dict.fromkeys(one.defense for one in read):
            line = sorted((one for one in read if one.defense == defense), key=lambda one: one.tau)
            _line(ax, line, reader, named=number == 0)
    ax.axhline(0.5, color="0.45", linewidth=0.7, linestyle=":", zorder=1, label="cannot be read")
    ax.set(ylabel="attribute AUC", ylim=(-0.03, 1.03))


def _line(ax: Axes, read: list[Reading], reader: str, named: bool) -> None:
    """One defense's points, by tau; `named` in the legend."""
    look, summaries = read[0].look, [one.auc.summary for one in read]
    lengths = [reach(found) or [[0.0], [0.0]] for found in summaries]
    style = STYLES[reader] | ({"markersize": 6.5, "markerfacecolor": "none"} if look.ring else {"markersize": 3.5})
    ax.errorbar(
        [one.tau for one in read],
        [found.mean for found in summaries],
        [[length[side][0] for length in lengths] for side in (0, 1)],
        color=look.curve,
        marker=look.marker,
        label=read[0].defense if named else None,
        linewidth=0.8,
        elinewidth=0.7,
        **style,
    )
