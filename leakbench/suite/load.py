"""Loads a suite by name or path.

A suite names a data set, a split, defenses and attacks. A list as a defense's parameter is a sweep: each value is a
point of the trade-off curve, and sweeps multiply along a chain of `base`. Unknown keys, unknown names and values out of
range are errors that name the file, the key and the nearest valid name.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.toml_file import read_toml, validate
from leakbench.suite.budget import Budget, drop_rows, list_changes, scale_down
from leakbench.suite.ensemble import read_frozen_attacks
from leakbench.suite.entries import build_attacks, read_restrictions
from leakbench.suite.file import SuiteFile
from leakbench.suite.overrides import apply_override, set_value
from leakbench.suite.points import expand_points
from leakbench.suite.small import Small, read_small
from leakbench.suite.suite import Suite


def load(name: str, overrides: tuple[str, ...] = (), budget: Budget | None = None) -> Suite:
    """Read a suite by name or path, apply `--set PATH=VALUE` and check everything. Raises UsageError.

    budget: makes the suite smaller; its `changes` are filled in here.
    """
    path = registry.suite_path(name)
    table = _read_suite(path)
    if budget is None:
        return build_suite(table, str(path), overrides)
    written = build_suite(_read_suite(path), str(path), overrides).file
    small = read_small(written, str(path)) if budget.small else Small()
    for key, value in small.values.items():
        set_value(table, key, value, f"{path}: small:")
    for override in overrides:
        apply_override(table, override)
    left_out = frozenset(row.row for row in budget.empty)
    drop_rows(table, left_out)
    scale_down(table, budget.factor, small.least, str(path))
    suite = build_suite(table, str(path))
    published = written.model_dump(mode="json", exclude_unset=True)
    drop_rows(published, left_out)
    changes = list_changes(validate(SuiteFile, published, str(path)), suite.file)
    return replace(suite, budget=replace(budget, changes=changes))


def _read_suite(path: Path) -> dict[str, Any]:
    """The table of a suite file, with the attacks of the ensemble that it names."""
    table = read_toml(path)
    if "ensemble" in table:
        table["attack"] = [*read_frozen_attacks(table["ensemble"], str(path)), *table.get("attack", [])]
    return table


def build_suite(table: dict[str, Any], where: str, overrides: tuple[str, ...] = ()) -> Suite:
    """Check a table, as a suite file holds it, and build its plugins. Raises UsageError that begins with `where`."""
    for override in overrides:
        apply_override(table, override)
    file = validate(SuiteFile, table, where)
    registry.dataset(file.dataset, f"{where}: dataset")
    read_small(file, where)
    if len(set(file.seeds)) < len(file.seeds):
        raise UsageError(f"{where}: seeds = {list(file.seeds)}: a seed stands there twice; write each once")
    points = tuple(expand_points(file, where))
    return Suite(file, points, dict(build_attacks(file, where)), dict(read_restrictions(file, where)))
