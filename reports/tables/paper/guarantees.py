"""Epsilons that releases state, beside the lower bound that an audit shows and the largest it could have shown."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from ...reading.auditing import AuditResult, list_audits
from ...reading.formatting import NOTHING
from ...reading.guarantees import StatedGuarantee, list_guarantees
from .table import Cell, Column, PaperTable, Row, cell, competes, plain

_EPSILONS = {
    "epsilon": "stated",
    "epsilon_replace_one": "one replaced",
    "epsilon_by_image": "by image",
    "epsilon_by_group": "by group",
    "epsilon_lower": "lower bound",
    "epsilon_ceiling": "ceiling",
    "epsilon_lower_f_dp": "lower bound, f-DP",
    "epsilon_ceiling_f_dp": "ceiling, f-DP",
}


def collect(run: RunFolder) -> PaperTable:
    """The table, a row a point that states an epsilon or was audited."""
    stated = {one.point.name: one for one in list_guarantees(run)}
    audits = {one.point.name: one for one in list_audits(run)}
    meant = [point.name for point in run.plan.points if point.role != "control"]
    names = [name for name in meant if name in stated or name in audits]
    return PaperTable(
        name="guarantees",
        caption=(
            f"Privacy guarantees, suite {run.plan.suite or run.path.name}: the epsilon that a release states for "
            "its adjacency, that of the same training where one image is replaced, and the lower bounds (95% "
            "confidence) that an audit shows, each with the largest that so many guesses could show; those by f-DP "
            "take the trade-off curve for that of DP-SGD with the stated rates and steps. Where images come in groups, "
            "by group is the epsilon for all images of a person together, and bounds are by group as well."
        ),
        heads=("point", "delta", "unit", "adjacency", "accountant"),
        columns=tuple(Column(name, head, name, group="epsilon") for name, head in _EPSILONS.items()),
        rows=tuple(_row(run, name, stated.get(name), audits.get(name)) for name in names),
    )


def _row(run: RunFolder, name: str, stated: StatedGuarantee | None, audit: AuditResult | None) -> Row:
    epsilon, replaced = (stated.epsilon, stated.replace_one) if stated else (None, None)
    found = {metric: _bound(audit, metric) for metric in _EPSILONS if metric.startswith(("epsilon_l", "epsilon_c"))}
    raised = {flag for record in audit.records for flag in record.flags} if audit else set()
    words = (name, *(_facts(stated, fact) for fact in ("delta", "unit", "adjacency", "accountant")))
    stated_ones = {"epsilon": plain(epsilon), "epsilon_replace_one": plain(replaced), **_by_unit(stated)}
    return Row(words, stated_ones | found, tuple(sorted(raised)), competes(run, name))


def _by_unit(stated: StatedGuarantee | None) -> dict[str, Cell]:
    """Epsilon by image and by group, of images that come in groups."""
    grouped = stated is not None and stated.by_group is not None
    return {
        "epsilon_by_image": plain(stated.by_image if stated and grouped else None),
        "epsilon_by_group": plain(stated.by_group if stated else None),
    }


def _bound(audit: AuditResult | None, metric: str) -> Cell:
    return cell(audit.aggregate(metric)) if audit else plain(None)


def _facts(stated: StatedGuarantee | None, fact: str) -> str:
    found = [one[fact] for one in stated.found if fact in one] if stated else []
    words = [f"{value:.3g}" if isinstance(value, int | float) else str(value) for value in found]
    return " / ".join(dict.fromkeys(words)) or NOTHING
