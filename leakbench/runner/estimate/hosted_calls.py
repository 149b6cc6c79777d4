"""Calls of a hosted model that a run will make, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from leakbench.api import Access, MembershipAttack, as_pretrained
from leakbench.measurement.compatibility import audit_setting, is_applicable
from leakbench.measurement.inputs import RunInputs
from leakbench.models.schedule import Schedule
from leakbench.runner.cell import Cell

_SCORED = ("member", "nonmember", "calibration_in", "calibration_out")


def describe_hosted(inputs: RunInputs, cells: list[Cell]) -> Iterator[str]:
    """Lines on the calls of each hosted model that the cells audit: those of one audit, as equal questions of the next
    are answered from what is kept."""
    seen = set()
    for cell in cells:
        model = as_pretrained(cell.chain[0].defense) if cell.kind == "audit" else None
        if model is not None and model not in seen and model.offers is Access.API:
            seen.add(model)
            seeds = sum(one.kind == "audit" and one.chain == cell.chain for one in cells)
            yield from model.describe_calls(seeds * count_calls(inputs, cell))


def count_calls(inputs: RunInputs, cell: Cell) -> int:
    """The most calls that one audit makes: samples, and for each image what attacks ask together, counted on a model
    whose walk is one step."""
    from leakbench.runner.estimate.dry_run import count_membership_calls

    file, setting = inputs.suite.file, audit_setting(inputs, cell.chain)
    known = [inputs.suite.attacks[name] for name in sorted({spec.attack for spec in cell.records} - {"quality"})]
    asking = [
        cast(MembershipAttack, one)
        for one in known
        if one.family == "membership" and one.access is Access.API and is_applicable(one, setting)
    ]
    conditions = inputs.network(inputs.condition(cell.chain)).conditions
    together, alone = count_membership_calls(asking, (1, 8, 8), conditions, Schedule(steps=1))
    parts = {name: len(rows) for name, rows in inputs.split.parts.items()}
    scored = sum(parts[name] for name in _SCORED)
    if file.generated_control:
        scored += min(file.quality.samples, parts["member"])
    public = parts["reference"] * sum(one.public for one in alone)
    return round(file.quality.samples + scored * together + public)
