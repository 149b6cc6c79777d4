"""The contents of plan.json: what a run was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from leakbench.api import as_pretrained
from leakbench.data.split_groups import find_split_groups, list_units
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.run_plan import PlannedBudget, PlannedGroups, PlannedPoint, PublishedNumber, RunPlan
from leakbench.results.split_overlap import COMPARED, OVERLAPPING
from leakbench.runner.absent_plugins import AbsentPlugins
from leakbench.suite.ensemble import format_ensemble
from leakbench.suite.release_spec import ReleaseSpec


def to_manifest(builder: ReleaseBuilder, commands: Sequence[str], absent: AbsentPlugins) -> RunPlan:
    """The plan of a run, as plan.json holds it. commands: those that make it, in order. absent: what of it has no
    plugin here."""
    suite = builder.inputs.suite
    return RunPlan(
        suite=suite.file.name,
        summary=suite.file.summary,
        ensemble=format_ensemble(suite.file),
        identity=suite.identity,
        command=commands[-1],
        earlier=list(commands[:-1]),
        dataset=builder.inputs.data.name,
        model=builder.inputs.model,
        headline=suite.file.headline,
        seeds=list(suite.file.seeds),
        samples=suite.file.quality.samples,
        features=suite.file.quality.features,
        split=_describe_split(builder),
        groups=_count_groups(builder),
        units=list_units(builder.inputs.split),
        points=[_describe_point(builder, point) for point in suite.points] + list(absent.points),
        attacks={name: type(attack).summary for name, attack in suite.attacks.items()} | absent.summaries,
        budget=None if suite.budget is None else PlannedBudget.model_validate(asdict(suite.budget)),
        published=[PublishedNumber.model_validate(row.model_dump(mode="json")) for row in suite.file.published],
        settings=suite.file.model_dump(mode="json"),
    )


def _describe_split(builder: ReleaseBuilder) -> dict[str, Any]:
    split, data, overlap = builder.inputs.split, builder.inputs.data, builder.inputs.overlap
    return {
        **{name: len(rows) for name, rows in split.parts.items()},
        "near_duplicates_removed": split.removed,
        **({} if overlap is None else {OVERLAPPING: len(overlap.nonmember), COMPARED: overlap.compared}),
        **({"index_file": split.file} if split.file else {}),
        **({"files_that_do_not_decode": len(data.skipped)} if data.skipped else {}),
        **({"images": "; ".join(data.remarks)} if data.remarks else {}),
    }


def _count_groups(builder: ReleaseBuilder) -> PlannedGroups | None:
    found = find_split_groups(builder.inputs.split)
    if found is None:
        return None
    return PlannedGroups(by_part=found.by_part, shared=len(found.shared), shared_nonmembers=found.shared_nonmembers)


def _describe_point(builder: ReleaseBuilder, point: ReleaseSpec) -> PlannedPoint:
    return PlannedPoint(
        point=point.label,
        defense=point.id,
        role=point.role,
        chain=tuple(link.defense.name for link in point.chain),
        bases=tuple(link.id for link in point.chain[:-1]),
        condition=builder.inputs.condition(point.chain),
        given=as_pretrained(point.chain[0].defense) is not None,
    )
