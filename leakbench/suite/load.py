"""Loads a suite by name or path.

A suite names a data set, a split, defenses and attacks. A list as a defense's parameter is a sweep: each value is a
point of the trade-off curve, and sweeps multiply along a chain of `base`. Unknown keys, unknown names and values out of
range are errors that name the file, the key and the nearest valid name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.toml_file import read_toml, validate
from leakbench.suite.budget import Budget, list_changes, scale_down
from leakbench.suite.ensemble import read_frozen_attacks
from leakbench.suite.entries import build_attacks, read_restrictions
from leakbench.suite.file import SuiteFile
from leakbench.suite.overrides import apply_override, flatten, set_value
from leakbench.suite.points import expand_points
from leakbench.suite.suite import Suite


def load(name: str, overrides: tuple[str, ...] = (), budget: Budget | None = None) -> Suite:
    """Read a suite by name or path, apply `--set PATH=VALUE` and check everything. Raises UsageError.

    budget: makes the suite smaller; its `changes` are filled in here.
    """
    path = registry.suite_path(name)
    table = read_toml(path)
    if "ensemble" in table:
        table["attack"] = [*read_frozen_attacks(table["ensemble"], str(path)), *table.get("attack", [])]
    if budget is None:
        return build_suite(table, str(path), overrides)
    small = validate(SuiteFile, table, str(path)).small if budget.small else {}
    for key, value in flatten(small).items():
        set_value(table, key, value, f"{path}: small:")
    for override in overrides:
        apply_override(table, override)
    scale_down(table, budget.factor, str(path))
    suite = build_suite(table, str(path))
    return replace(suite, budget=replace(budget, changes=list_changes(load(name, overrides).file, suite.file)))


def build_suite(table: dict[str, Any], where: str, overrides: tuple[str, ...] = ()) -> Suite:
    """Check a table, as a suite file holds it, and build its plugins. Raises UsageError that begins with `where`."""
    for override in overrides:
        apply_override(table, override)
    file = validate(SuiteFile, table, where)
    registry.dataset(file.dataset, f"{where}: dataset")
    if len(set(file.seeds)) < len(file.seeds):
        raise UsageError(f"{where}: seeds = {list(file.seeds)}: a seed stands there twice; write each once")
    points = tuple(expand_points(file, where))
    return Suite(file, points, dict(build_attacks(file, where)), dict(read_restrictions(file, where)))
