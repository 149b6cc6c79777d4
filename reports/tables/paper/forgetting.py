"""Forgetting of a label or of images: what is left, the damage to the rest, and the cost."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from ...reading.distances import distance_name
from ...reading.forgetting import LEVEL, Forgetting, list_forgetting
from ...reading.metric_flags import read_flags
from ...reading.selection import quality_records
from ...reading.shown import name_strongest
from ...reading.strongest import strongest_by_image
from .table import Column, PaperTable, Row, by_seed, cell, column, competes, plain, void_words


def collect(run: RunFolder) -> PaperTable:
    """The table, a row a point."""
    return PaperTable(
        name="forgetting",
        caption=(
            f"Unlearning, suite {run.plan.suite or run.path.name}: probability of the forgotten label on samples that "
            f"were asked for it, {distance_name(run)} on the labels to keep, AUC of {name_strongest(run)} at {LEVEL} "
            "on the images to forget, and the network evaluations of the last step of training. Brackets are 95% "
            "intervals. Bold: the best of a column, and every row not shown to be worse (controls and ablations aside)."
        ),
        heads=("point",),
        columns=(
            column("forget_probability", "forget_probability", "forget probability (%)"),
            column("frechet_retained", "frechet_retained", f"{distance_name(run)}, retained"),
            column("forget_auc", "forget_auc", "forget-set AUC"),
            Column("network_evaluations", "evaluations", "network_evaluations"),
        ),
        rows=tuple(_row(run, row) for row in list_forgetting(run)),
        void=void_words(run),
    )


def _row(run: RunFolder, row: Forgetting) -> Row:
    quality = by_seed(quality_records(run, row.point))
    records = [*quality.values(), *strongest_by_image(run, row.point, LEVEL).values()]
    raised = {flag for record in records for flag in read_flags(run, record, "forget_auc")}
    cells = {
        "forget_probability": cell(row.probability, quality),
        "frechet_retained": cell(row.retained, quality),
        "forget_auc": cell(row.auc),
        "network_evaluations": plain(row.cost.evaluations),
    }
    return Row((row.point.name,), cells, tuple(sorted(raised)), competes(run, row.point.name))
