"""A suite file -> the plan.

A suite names a data set, a split, defenses and attacks. A list as a defense's parameter is a sweep: each value is a
point of the trade-off curve, and sweeps multiply along a chain of `base`. Unknown keys, unknown names and values out of
range are errors that name the file, the key and the nearest valid name.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from leakbench.api import Attack
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.suite.budget import Budget, Change, changes, flat, shrink
from leakbench.suite.file import NetworkTable, PublishedRow, QualityTable, SamplerTable, SuiteFile, apply, put, validate
from leakbench.suite.points import ChainLink, ReleaseSpec, attacks_of, points_of, restrictions_of

__all__ = [
    "Budget",
    "ChainLink",
    "Change",
    "NetworkTable",
    "PublishedRow",
    "QualityTable",
    "ReleaseSpec",
    "SamplerTable",
    "Suite",
    "SuiteFile",
    "checked",
    "describe",
    "ensemble_of",
    "load",
]


@dataclass(frozen=True)
class Suite:
    """A checked suite: its file, the points of its curves in order, its attacks by id, and for those that say `on`
    the ids of the only defenses that they are run against. `budget`: how it was made smaller, if it was."""

    file: SuiteFile
    points: tuple[ReleaseSpec, ...]
    attacks: dict[str, Attack]
    on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    budget: Budget | None = None

    def asks(self, attack: str, point: ReleaseSpec) -> bool:
        """Whether an attack is run against a point."""
        return attack not in self.on or point.id in self.on[attack]

    @property
    def identity(self) -> str:
        """sha256 of all that the suite asks for, --set included."""
        text = json.dumps(self.file.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(name: str, overrides: tuple[str, ...] = (), budget: Budget | None = None) -> Suite:
    """Read a suite by name or path, apply `--set PATH=VALUE` and check everything. Raises UsageError.

    `budget` makes it smaller; its `changes` are found here.
    """
    path = registry.suite_path(name)
    table = _read(path)
    if "ensemble" in table:
        table["attack"] = [*frozen_attacks(table["ensemble"], str(path)), *table.get("attack", [])]
    if budget is None:
        return checked(table, str(path), overrides)
    small = validate(SuiteFile, table, str(path)).small if budget.small else {}
    for key, value in flat(small).items():
        put(table, key, value, f"{path}: small:")
    for override in overrides:
        apply(table, override)
    shrink(table, budget.factor, str(path))
    suite = checked(table, str(path))
    return replace(suite, budget=replace(budget, changes=changes(load(name, overrides).file, suite.file)))


def checked(table: dict[str, Any], where: str, overrides: tuple[str, ...] = ()) -> Suite:
    """The suite of a table as a file would hold it; `where` is said in errors. Raises UsageError."""
    for override in overrides:
        apply(table, override)
    file = validate(SuiteFile, table, where)
    registry.dataset(file.dataset, f"{where}: dataset")
    if len(set(file.seeds)) < len(file.seeds):
        raise UsageError(f"{where}: seeds = {list(file.seeds)}: a seed stands there twice; write each once")
    points = tuple(points_of(file, where))
    return Suite(file, points, dict(attacks_of(file, where)), dict(restrictions_of(file, where)))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None


def frozen_attacks(ensemble: object, where: str) -> list[dict[str, Any]]:
    """The [[attack]] entries of the suite that a key `ensemble` names. Raises UsageError where it has no version."""
    if not isinstance(ensemble, str):
        raise UsageError(f"{where}: ensemble = {ensemble!r}: it should be the name of a suite, such as 'strongest'")
    path = registry.suite_path(ensemble)
    table = _read(path)
    if not table.get("version"):
        raise UsageError(f"{where}: ensemble = {ensemble!r}: {path} has no `version`, so its attacks are not frozen")
    return list(table.get("attack", []))


def ensemble_of(file: SuiteFile) -> str:
    """The frozen set of attacks that a suite runs, for tables: "strongest 1"; what was changed or added is said."""
    name = file.ensemble or file.name
    if not file.ensemble and (not file.version or name not in registry.suite_files()):
        return f"{name} {file.version}" if file.version else ""
    table = _read(registry.suite_path(name))
    frozen, asked = list(table.get("attack", [])), [dict(entry) for entry in file.attack]
    said = f"{name} {table['version']}"
    if asked[: len(frozen)] != frozen:
        return f"{said}, changed"
    more = len(asked) - len(frozen)
    return said if not more else f"{said} and {more} more attack{'s' if more > 1 else ''}"


def describe(path: Path) -> str:
    """The one-line summary of a suite file."""
    return str(tomllib.loads(path.read_text()).get("summary", ""))
