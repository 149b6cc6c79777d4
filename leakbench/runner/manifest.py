"""plan.json of a run folder: what the run was asked for, and the check that a folder holds this run and no other."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leakbench.api import as_pretrained
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runtime.errors import UsageError
from leakbench.suite.load import ReleaseSpec, Suite, ensemble_of


def to_manifest(bench: ReleaseBuilder, command: str) -> dict[str, Any]:
    """The contents of plan.json."""
    suite = bench.suite
    return {
        "suite": suite.file.name,
        "summary": suite.file.summary,
        "ensemble": ensemble_of(suite.file),
        "identity": suite.identity,
        "command": command,
        "dataset": bench.data.name,
        "model": bench.model,
        "headline": suite.file.headline,
        "seeds": list(suite.file.seeds),
        "samples": suite.file.quality.samples,
        "features": suite.file.quality.features,
        "split": _describe_split(bench),
        "points": [_describe_point(bench, point) for point in suite.points],
        "attacks": {name: type(attack).summary for name, attack in suite.attacks.items()},
        "budget": suite.budget and asdict(suite.budget),
        "published": [row.model_dump(mode="json") for row in suite.file.published],
        "settings": suite.file.model_dump(mode="json"),
    }


def _describe_split(bench: ReleaseBuilder) -> dict[str, Any]:
    split, skipped = bench.split, bench.data.skipped
    return {
        **{name: len(rows) for name, rows in split.parts.items()},
        "near_duplicates_removed": split.removed,
        **({"index_file": split.file} if split.file else {}),
        **({"files_that_do_not_decode": len(skipped)} if skipped else {}),
    }


def _describe_point(bench: ReleaseBuilder, point: ReleaseSpec) -> dict[str, Any]:
    return {
        "point": point.label,
        "defense": point.id,
        "role": point.role,
        "chain": [link.defense.name for link in point.chain],
        "bases": [link.id for link in point.chain[:-1]],
        "condition": bench.condition(point.chain),
        "given": as_pretrained(point.chain[0].defense) is not None,
    }


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
            "the --set and --budget of that run"
        )
