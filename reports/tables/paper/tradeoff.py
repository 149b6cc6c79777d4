"""The trade-off: quality against the strongest attack of each access level, and copying."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE, TRAINING_DISTANCE
from leakbench.results.run_folder import RunFolder

from ...reading.distances import distance_name, find_floor, images_a_side
from ...reading.extra_columns import column_title, list_extra_columns
from ...reading.formatting import format_distance, rate_title
from ...reading.metric_flags import read_flags
from ...reading.selection import copy_attacks, quality_records, select_records
from ...reading.shown import name_strongest
from ...reading.strongest import strongest, strongest_by_rate
from ...reading.tradeoff import TradeoffRow, list_rows, shown_levels
from .table import Cell, Column, PaperTable, Row, by_seed, cell, column, competes, void_words

NO_RESULT = {Flag.CONSTANT_SCORES}  # a number under such a flag is nobody's best


def collect(run: RunFolder) -> PaperTable:
    """The table, a row a point."""
    floor = find_floor(run)
    sizes = " and ".join(map(str, images_a_side(run)))
    notes = [f"Distances and their intervals are those expected at {sizes} images a side."] if sizes else []
    notes += [f"{distance_name(run)} of real to real images: {format_distance(floor)}."] if floor else []
    return PaperTable(
        name="tradeoff",
        caption=(
            f"Quality against leakage, suite {run.plan.suite or run.path.name}. {distance_name(run)} to held-out "
            f"images; AUC and TPR of {name_strongest(run)} at each access level; copies beyond those that held-out "
            "real images pass for. Brackets are 95% intervals; those of AUC and TPR hold for all attacks on a release "
            "together. Bold: the best of a column, and every row not shown to be worse (controls and ablations aside)."
        ),
        heads=("point",),
        columns=tuple(_columns(run)),
        rows=tuple(_row(run, row) for row in list_rows(run)),
        void=void_words(run),
        notes=tuple(notes),
    )


def _columns(run: RunFolder) -> list[Column]:
    name, headline = distance_name(run), run.plan.headline
    found = [
        column(HELDOUT_DISTANCE, HELDOUT_DISTANCE, "held-out", name),
        column(TRAINING_DISTANCE, TRAINING_DISTANCE, "training set", name),
    ]
    for title in shown_levels(run).values():
        found.append(column(f"{title.lower()}_auc", "auc", "AUC", title))
        found.append(column(f"{title.lower()}_{headline}", headline, f"{rate_title(headline)} (%)", title))
    for label in copy_attacks(run).values():
        found.append(column(f"{COPY_EXCESS}_{label}", COPY_EXCESS, f"{label} (%)", "copies beyond null"))
    return found + [column(metric, metric, column_title(metric)) for metric in list_extra_columns(run)]


def _row(run: RunFolder, row: TradeoffRow) -> Row:
    quality = by_seed(quality_records(run, row.point))
    cells = {name: cell(found, quality) for name, found in (*row.distances.items(), *row.extra.items())}
    for level, title in shown_levels(run).items():
        cells |= _leak_cells(run, row, level, title.lower())
    copied = Flag.NEVER_COPIED not in row.flags
    for attack, label in copy_attacks(run).items():
        records = by_seed(select_records(run, row.point, "replication", attack))
        cells[f"{COPY_EXCESS}_{label}"] = cell(row.copies[attack], records, copied)
    name = row.point.name
    return Row((name,), cells, tuple(row.flags), competes(run, name))


def _leak_cells(run: RunFolder, row: TradeoffRow, level: str, name: str) -> dict[str, Cell]:
    """AUC and headline TPR; a TPR of few negatives ranks nothing."""
    leak, headline = row.leaks[level], run.plan.headline
    records, rated = strongest(run, row.point, level), strongest_by_rate(run, row.point, level)
    raised = {flag for record in (*records.values(), *rated.values()) for flag in read_flags(run, record, headline)}
    ranks = not raised & NO_RESULT
    return {
        f"{name}_auc": cell(leak.auc, records, ranks),
        f"{name}_{headline}": cell(leak.tpr, rated, ranks and Flag.FEW_NEGATIVES not in raised),
    }
