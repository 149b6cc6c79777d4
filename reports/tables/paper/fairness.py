"""The sensitive attribute in the samples of each point, beside their quality."""

from __future__ import annotations

from leakbench.results.metric_specs import HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder

from ...reading.distances import distance_name
from ...reading.fairness import AttributeFairness, list_fairness
from ...reading.selection import quality_records
from .table import Cell, Column, PaperTable, Row, by_seed, cell, column, competes, plain


def collect(run: RunFolder) -> PaperTable:
    """The table, a row a point."""
    return PaperTable(
        name="fairness",
        caption=(
            f"The sensitive attribute in samples, suite {run.plan.suite or run.path.name}: AUC at which a classifier "
            "of real images, and one of samples, tells it; share of samples that have it, and of real images; quality. "
            "Brackets are 95% intervals. Bold: the best of a column, and every row not shown to be worse (controls "
            "and ablations aside)."
        ),
        heads=("point",),
        columns=(
            Column("tau", "tau", "tau", digits=0),
            column("attribute_auc", "attribute_auc", "real images", "AUC, classifier of"),
            column("attribute_auc_trained", "attribute_auc_trained", "samples", "AUC, classifier of"),
            column("attribute_balance", "attribute_balance", "samples", "with the attribute (%)"),
            column("attribute_balance_real", "attribute_balance_real", "real images", "with the attribute (%)"),
            column(HELDOUT_DISTANCE, HELDOUT_DISTANCE, f"{distance_name(run)}, held-out"),
        ),
        rows=tuple(_row(run, row) for row in list_fairness(run)),
    )


def _row(run: RunFolder, row: AttributeFairness) -> Row:
    return Row((row.point.name,), list_cells(run, row), (), competes(run, row.point.name))


def list_cells(run: RunFolder, row: AttributeFairness) -> dict[str, Cell]:
    """The numbers of a point by the keys of their columns."""
    return {
        "tau": plain(sum(row.tau) / len(row.tau) if row.tau else None),
        **{name: cell(found) for name, found in row.aucs.items()},
        "attribute_balance": cell(row.balance),
        "attribute_balance_real": cell(row.real),
        HELDOUT_DISTANCE: cell(row.distance, by_seed(quality_records(run, row.point))),
    }
