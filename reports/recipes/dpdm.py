"""DPDM's curve: distance against epsilon, the paper's FID on two data sets beside this run's."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING

from leakbench.results.metric_specs import HELDOUT_DISTANCE, TRAINING_DISTANCE
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..figures.canvas import MissingData, entries, figure, legend, log_ticks
from ..figures.dots import error_lengths
from ..reading.aggregate import Aggregate, aggregate
from ..reading.distances import aggregate_distance, distance_name
from ..reading.formatting import NOTHING
from ..reading.guarantees import find_guarantee
from ..reading.selection import quality_records
from ..tables.paper.table import PaperTable, Row, cell, plain
from .recipe import our_column, paper_column, quality_flags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = {  # data set: FID by epsilon
    "MNIST": {0.2: 61.9, 1.0: 23.4, 10.0: 5.01},
    "Fashion-MNIST": {0.2: 78.4, 1.0: 37.8, 10.0: 18.6},
}
_DASHES = ("--", ":")


@dataclass(frozen=True)
class _Stated:
    """A point that states a finite epsilon, with its distances to training and to held-out images."""

    point: PlannedPoint
    epsilon: float
    training: Aggregate | None
    heldout: Aggregate | None


def collect(run: RunFolder) -> PaperTable:
    """The paper's two curves, then a row a point that states an epsilon, by epsilon."""
    ours = [_our_row(run, one) for one in _stated(run)]
    name = distance_name(run)
    paper = [_paper_row(data, epsilon, fid) for data, curve in CURVES.items() for epsilon, fid in curve.items()]
    return PaperTable(
        name="dpdm",
        caption=(
            "DPDM (TMLR 2023): the paper's FID against epsilon, beside the distances and epsilons of this run "
            "(the paper's are for one image added or removed, ours as the column adjacency says). "
            f"{name} compares with FID only where it is FID. Brackets are 95% intervals."
        ),
        heads=("point", "data set", "adjacency"),
        columns=(
            paper_column("epsilon", "epsilon", "epsilon", digits=1),
            paper_column("frechet", TRAINING_DISTANCE, "FID", digits=2),
            our_column("epsilon", "epsilon", "epsilon", digits=1),
            our_column(TRAINING_DISTANCE, TRAINING_DISTANCE, f"{name}, training"),
            our_column(HELDOUT_DISTANCE, HELDOUT_DISTANCE, f"{name}, held-out"),
        ),
        rows=(*paper, *ours) if ours else (),
    )


def _stated(run: RunFolder) -> list[_Stated]:
    found = []
    for point in (point for point in run.plan.points if point.role == "defense"):
        epsilon, records = find_guarantee(run, point).epsilon, quality_records(run, point)
        if epsilon and isfinite(epsilon):
            training = aggregate(records, TRAINING_DISTANCE)  # the paper's, so the other is left out where they part
            heldout = aggregate_distance(records, HELDOUT_DISTANCE, beside=TRAINING_DISTANCE)
            found.append(_Stated(point, epsilon, training, heldout))
    return sorted(found, key=lambda one: one.epsilon)


def _paper_row(data: str, epsilon: float, fid: float) -> Row:
    return Row(("the paper", data, "add-or-remove"), {"paper_epsilon": plain(epsilon), "paper_frechet": plain(fid)})


def _our_row(run: RunFolder, one: _Stated) -> Row:
    cells = {"epsilon": plain(one.epsilon), TRAINING_DISTANCE: cell(one.training), HELDOUT_DISTANCE: cell(one.heldout)}
    data = next((record.dataset for record in quality_records(run, one.point)), "")
    return Row(
        (one.point.name, data, find_guarantee(run, one.point).adjacency or NOTHING),
        cells,
        quality_flags(run, one.point, TRAINING_DISTANCE),
    )


def plot(run: RunFolder, width: float) -> Figure:
    """The curves on logarithmic axes. Raises MissingData where no release states an epsilon."""
    ours = [(one.epsilon, one.training.summary) for one in _stated(run) if one.training]
    if not ours:
        raise MissingData("no release states an epsilon and has a distance")
    drawn = figure(width, 2.2)
    ax = drawn.subplots()
    for (data, curve), dash, marker in zip(CURVES.items(), _DASHES, "^v", strict=True):
        options = {"color": "0.45", "linestyle": dash, "marker": marker, "markersize": 3.5}
        ax.plot(list(curve), list(curve.values()), label=f"DPDM, {data} (FID)", linewidth=0.8, **options)  # type: ignore[arg-type]
    for epsilon, found in ours:
        bars = error_lengths(found)
        label = f"this run, {distance_name(run)}"
        ax.errorbar(epsilon, found.mean, bars, fmt="D", color="#D55E00", elinewidth=0.7, label=label)
    ax.set_xscale("log")
    log_ticks(ax)
    lowest = min((found.low for _, found in ours if found.low > 0), default=inf)
    ax.set(xlabel="epsilon stated", ylabel="distance to training images", ylim=(0.8 * min(lowest, 5.01), None))
    legend(drawn, entries([ax]))
    return drawn
