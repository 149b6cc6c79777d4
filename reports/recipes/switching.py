"""Attribute switching's balance: whether the attribute can be read off samples, at the taus that were run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leakbench.results.metric_specs import HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder

from ..figures import fairness
from ..reading.distances import distance_name
from ..reading.fairness import AttributeFairness, list_fairness
from ..reading.shown import ShownRun
from ..tables.paper.fairness import list_cells
from ..tables.paper.table import PaperTable, Row, plain
from .recipe import our_column, paper_column, quality_flags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAU = 640.0  # CelebA 64x64, gender, cosine schedule: set in the published code. No table of the paper is known to us.
_METHOD = "attribute_switching"


def collect(run: RunFolder) -> PaperTable:
    """A row a point whose samples were read."""
    switched = any(point.method == _METHOD for point in run.plan.points)
    shown = list_fairness(_shown(run))
    return PaperTable(
        name="switching",
        caption=(
            "Attribute switching (AAAI 2024), its balance: AUC at which a classifier of real images, and one of the "
            "release's samples, tells the attribute (it cannot at 0.5), and the share of samples that have it. The "
            "paper: the tau that its code sets for CelebA and gender; its tables are unknown to us. Brackets are "
            "95% intervals."
        ),
        heads=("point",),
        columns=(
            paper_column("tau", "tau", "tau", digits=0),
            our_column("tau", "tau", "tau", digits=0),
            our_column("attribute_auc", "attribute_auc", "AUC, real"),
            our_column("attribute_auc_trained", "attribute_auc_trained", "AUC, samples"),
            our_column("attribute_balance", "attribute_balance", "with it (%)"),
            our_column("attribute_balance_real", "attribute_balance_real", "of real images (%)"),
            our_column(HELDOUT_DISTANCE, HELDOUT_DISTANCE, distance_name(run)),
        ),
        rows=tuple(_row(run, row) for row in shown) if switched else (),
    )


def _shown(run: RunFolder) -> ShownRun:
    """The points of the method, and what they are compared with."""
    return ShownRun(run, {p.name for p in run.plan.points if p.method == _METHOD or p.role == "baseline"})


def _row(run: RunFolder, row: AttributeFairness) -> Row:
    cells = {"paper_tau": plain(TAU if row.point.method == _METHOD else None), **list_cells(run, row)}
    return Row((row.point.name,), cells, quality_flags(run, row.point, "attribute_auc"))


def plot(run: RunFolder, width: float) -> Figure:
    """The attribute's AUC against quality. Raises MissingData where no classifier read it."""
    return fairness.plot(fairness.collect_data(_shown(run)), width)
