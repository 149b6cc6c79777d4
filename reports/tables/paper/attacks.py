"""Membership attacks against each point: all against the unprotected model, the strongest of each level elsewhere."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder

from ...reading.attack_ranking import MANY, baseline_points, rank_results
from ...reading.formatting import rate_title
from ...reading.metric_flags import read_flags
from ...reading.shown import name_strongest
from ...reading.standing import Standing, list_standings_and_adaptive, stand_alone
from ...reading.strongest import representative_points
from .table import Column, PaperTable, Row, cell, competes, plain, void_words
from .tradeoff import NO_RESULT


def collect(run: RunFolder) -> PaperTable:
    """The table, a row an attack at an access level."""
    headline = run.plan.headline
    return PaperTable(
        name="attacks",
        caption=(
            f"Membership attacks, suite {run.plan.suite or run.path.name}: all against the model without protection; "
            f"elsewhere {name_strongest(run)} at each access level, as in the trade-off, and those that know the "
            "defense. Levels at which the same computations stand share a row. Queries: network calls an image, of the "
            "attack that takes most where several are named. Brackets are 95% intervals for all attacks on a point "
            "together. Bold: the highest of a point, and every row not shown to be lower; nothing where none is shown "
            "to be. Arrows point where an attacker wants to go."
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


def _rows(run: RunFolder) -> list[Standing]:
    whole = baseline_points(run)
    shown = run.plan.points if len(run.plan.points) <= MANY else representative_points(run)
    found: list[Standing] = []
    for point in shown:
        if point in whole:
            found += [stand_alone(row) for row in rank_results(run, point)]
        else:
            found += list_standings_and_adaptive(run, point)
    return found


def _row(run: RunFolder, row: Standing) -> Row:
    headline = run.plan.headline
    raised = {flag for record in row.records for flag in read_flags(run, record, headline)}
    ranks = not raised & NO_RESULT
    leak = row.collect(run)
    cells = {
        "auc": cell(leak.auc, row.by_auc, ranks),
        headline: cell(leak.tpr, row.by_rate, ranks and Flag.FEW_NEGATIVES not in raised),
        "queries": plain(row.queries),
    }
    attack = leak.attack + (f"; TPR: {leak.rate_attack}" if leak.rate_attack else "")
    words = (row.point.name, attack, ", ".join(row.levels))
    return Row(words, cells, tuple(sorted(raised)), competes(run, row.point.name), among=row.point.name)
