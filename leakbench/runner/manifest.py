"""plan.json of a run folder: what the run was asked for, and the check that a folder holds this run and no other."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leakbench.api import as_pretrained
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.run_plan import PlannedBudget, PlannedPoint, PublishedNumber, RunPlan
from leakbench.runtime.errors import UsageError
from leakbench.suite.ensemble import format_ensemble
from leakbench.suite.release_spec import ReleaseSpec
from leakbench.suite.suite import Suite


def to_manifest(builder: ReleaseBuilder, command: str) -> RunPlan:
    """The plan of a run, as plan.json holds it."""
    suite = builder.inputs.suite
    return RunPlan(
        suite=suite.file.name,
        summary=suite.file.summary,
        ensemble=format_ensemble(suite.file),
        identity=suite.identity,
        command=command,
        dataset=builder.inputs.data.name,
        model=builder.inputs.model,
        headline=suite.file.headline,
        seeds=list(suite.file.seeds),
        samples=suite.file.quality.samples,
        features=suite.file.quality.features,
        split=_describe_split(builder),
        points=[_describe_point(builder, point) for point in suite.points],
        attacks={name: type(attack).summary for name, attack in suite.attacks.items()},
        budget=None if suite.budget is None else PlannedBudget.model_validate(asdict(suite.budget)),
        published=[PublishedNumber.model_validate(row.model_dump(mode="json")) for row in suite.file.published],
        settings=suite.file.model_dump(mode="json"),
    )


def _describe_split(builder: ReleaseBuilder) -> dict[str, Any]:
    split, data = builder.inputs.split, builder.inputs.data
    return {
        **{name: len(rows) for name, rows in split.parts.items()},
        "near_duplicates_removed": split.removed,
        **({"index_file": split.file} if split.file else {}),
        **({"files_that_do_not_decode": len(data.skipped)} if data.skipped else {}),
        **({"images": "; ".join(data.remarks)} if data.remarks else {}),
    }


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


def check_same_run(out: Path, suite: Suite) -> None:
    """Raise UsageError if the folder holds the run of another suite, or of this one with other settings."""
    path, name = out / "plan.json", suite.file.name
    if not path.is_file():
        return
    try:
        old = json.loads(path.read_text())
    except ValueError:
        raise UsageError(f"{path}: not a plan; choose another folder with --out") from None
    if old.get("suite") != name:
        raise UsageError(
            f"{out}: holds a run of suite {old.get('suite')!r}, not {name!r}; choose another folder with --out"
        )
    if old.get("identity") != suite.identity:
        raise UsageError(
            f"{out}: holds a run of suite {name!r} with other settings; choose another folder with --out, or repeat "
            "the command of that run (history.json has it)"
        )
