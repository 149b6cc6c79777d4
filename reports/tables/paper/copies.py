"""Copies by every replication attack at each point, beyond the share of real images that pass for copies."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder

from ...reading.attack_ranking import MANY
from ...reading.attack_results import AttackResult
from ...reading.metric_flags import read_flags
from ...reading.replication import list_copy_results
from ...reading.strongest import representative_points
from .table import PaperTable, Row, by_seed, cell, column, competes

_TITLES = {
    "copy_rate": "copies (%)",
    "copy_rate_null": "of real images (%)",
    COPY_EXCESS: "beyond (%)",
    "unique_copies": "training images",
}


def collect(run: RunFolder) -> PaperTable:
    """The table, a row an attack at a point."""
    shown = run.plan.points if len(run.plan.points) <= MANY else representative_points(run)
    return PaperTable(
        name="copies",
        caption=(
            f"Copies of training images, suite {run.plan.suite or run.path.name}: samples beyond a similarity that was "
            "calibrated on held-out real images, the share of other real images beyond it, the difference, and the "
            "training images copied. Brackets are 95% intervals. Bold: the fewest copies by an attack, and every row "
            "not shown to have more (controls and ablations aside)."
        ),
        heads=("attack", "point", "similarity"),
        columns=tuple(column(metric, metric, title) for metric, title in _TITLES.items()),
        rows=tuple(sorted((_row(run, r) for p in shown for r in list_copy_results(run, p)), key=lambda r: r.among)),
    )


def _row(run: RunFolder, row: AttackResult) -> Row:
    raised = {flag for record in row.records for flag in read_flags(run, record, COPY_EXCESS)}
    ranks = Flag.NEVER_COPIED not in raised
    cells = {metric: cell(row.aggregate(metric), by_seed(row.records), ranks) for metric in _TITLES}
    words = (row.attack, row.point.name, row.records[0].features)
    return Row(words, cells, tuple(sorted(raised)), competes(run, row.point.name), among=row.attack)
