"""Epsilons that releases state, beside the lower bound that an audit shows and the largest it could have shown."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from ...reading.auditing import AuditResult, list_audits
from ...reading.formatting import NOTHING
from ...reading.guarantees import StatedGuarantee, list_guarantees
from .table import Cell, Column, PaperTable, Row, cell, competes, plain


def collect(run: RunFolder) -> PaperTable:
    """The table, a row a point that states an epsilon or was audited."""
    stated = {one.point.name: one for one in list_guarantees(run)}
    audits = {one.point.name: one for one in list_audits(run)}
    meant = [point.name for point in run.plan.points if point.role != "control"]
    names = [name for name in meant if name in stated or name in audits]
    return PaperTable(
        name="guarantees",
        caption=(
            f"Privacy guarantees, suite {run.plan.suite or run.path.name}: the epsilon that a release states, the "
            "lower bound (95% confidence) that an audit shows, and the largest that so many guesses could show."
        ),
        heads=("point", "delta", "unit", "accountant"),
        columns=(
            Column("epsilon", "stated", "epsilon", group="epsilon"),
            Column("epsilon_lower", "lower bound", "epsilon_lower", group="epsilon"),
            Column("epsilon_ceiling", "ceiling", "epsilon_ceiling", group="epsilon"),
        ),
        rows=tuple(_row(run, name, stated.get(name), audits.get(name)) for name in names),
    )


def _row(run: RunFolder, name: str, stated: StatedGuarantee | None, audit: AuditResult | None) -> Row:
    epsilon = stated.epsilon if stated else None
    found = {metric: _bound(audit, metric) for metric in ("epsilon_lower", "epsilon_ceiling")}
    raised = {flag for record in audit.records for flag in record.flags} if audit else set()
    words = (name, *(_facts(stated, fact) for fact in ("delta", "unit", "accountant")))
    return Row(words, {"epsilon": plain(epsilon), **found}, tuple(sorted(raised)), competes(run, name))


def _bound(audit: AuditResult | None, metric: str) -> Cell:
    return cell(audit.aggregate(metric)) if audit else plain(None)


def _facts(stated: StatedGuarantee | None, fact: str) -> str:
    found = [one[fact] for one in stated.found if fact in one] if stated else []
    words = [f"{value:.3g}" if isinstance(value, int | float) else str(value) for value in found]
    return " / ".join(dict.fromkeys(words)) or NOTHING
