"""Membership attacks against each point: all against the unprotected model, the strongest of each level elsewhere."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder

from ...reading.attack_ranking import MANY, baseline_points, rank_results, repeats_reference, top_attacks
from ...reading.attack_results import AttackResult
from ...reading.formatting import rate_title
from ...reading.leakage import collect_leak
from ...reading.metric_flags import read_flags
from ...reading.strongest import representative_points
from .table import Column, PaperTable, Row, by_seed, cell, competes, plain, void_words
from .tradeoff import NO_RESULT


def collect(run: RunFolder) -> PaperTable:
    """The table, a row an attack at an access level."""
    headline = run.plan.headline
    return PaperTable(
        name="attacks",
        caption=(
            f"Membership attacks, suite {run.plan.suite or run.path.name}: all against the model without protection; "
            "elsewhere the strongest of each access level and those that know the defense. Queries: network calls an "
            "image. Brackets are 95% intervals for all attacks on a point together. Bold: the strongest attack on a "
            "point, and every one not shown to be weaker; arrows point where an attacker wants to go."
        ),
        heads=("point", "attack", "needs"),
        columns=(
            Column("auc", "AUC", "auc", "higher"),
            Column(headline, f"{rate_title(headline)} (%)", headline, "higher"),
            Column("queries", "queries", "queries", digits=0),
        ),
        rows=tuple(_row(run, row) for row in _rows(run)),
        void=void_words(run),
    )


def _rows(run: RunFolder) -> list[AttackResult]:
    whole = baseline_points(run)
    shown = run.plan.points if len(run.plan.points) <= MANY else representative_points(run)
    found = []
    for point in shown:
        ranked = rank_results(run, point)
        found += ranked if point in whole else [r for r in top_attacks(run, ranked) if not repeats_reference(run, r)]
    return found


def _row(run: RunFolder, row: AttackResult) -> Row:
    headline = run.plan.headline
    raised = {flag for record in row.records for flag in read_flags(run, record, headline)}
    ranks, records = not raised & NO_RESULT, by_seed(row.records)
    leak = collect_leak(run, row.records)
    calls = sum(record.queries for record in row.records) / len(row.records)
    cells = {
        "auc": cell(leak.auc, records, ranks),
        headline: cell(leak.tpr, records, ranks and Flag.FEW_NEGATIVES not in raised),
        "queries": plain(calls),
    }
    able = competes(run, row.point.name) and row.access != "NONE"
    words = (row.point.name, row.attack, row.access)
    return Row(words, cells, tuple(sorted(raised)), able, among=row.point.name)
