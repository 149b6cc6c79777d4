"""Frozen sets of attacks: a suite with a `version`, whose attacks other suites take over by the key `ensemble`.

An audit names its set by the same key, and runs what of it can be run on a given model.
"""

from __future__ import annotations

from typing import Any

from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.toml_file import read_toml
from leakbench.suite.file import SuiteFile
from leakbench.suite.frozen import format_version, list_changes

_CHANGED, _FEWER = ", changed", ", as far as it applies"


def read_frozen_attacks(ensemble: object, where: str) -> list[dict[str, Any]]:
    """The [[attack]] entries of the suite that a key `ensemble` names. Raises UsageError where it has no version."""
    if not isinstance(ensemble, str):
        raise UsageError(f"{where}: ensemble = {ensemble!r}: it should be the name of a suite, such as 'strongest'")
    path = registry.suite_path(ensemble)
    table = read_toml(path)
    if not table.get("version"):
        raise UsageError(f"{where}: ensemble = {ensemble!r}: {path} has no `version`, so its attacks are not frozen")
    return list(table.get("attack", []))


def format_ensemble(file: SuiteFile) -> str:
    """The frozen set that a suite runs and what was changed or added, for tables: "strongest 1 and 2 more attacks", or
    "standard 1, as far as it applies" where attacks of the set are missing and all others are as it has them. Empty
    where the suite has no version and names no ensemble."""
    name = file.ensemble or file.name
    if not file.ensemble and (not file.version or name not in registry.suite_files()):
        return format_version(name, file.version)
    table = read_toml(registry.suite_path(name))
    frozen, asked = list(table.get("attack", [])), [dict(entry) for entry in file.attack]
    title = format_version(name, str(table["version"]))
    if asked[: len(frozen)] != frozen or list_changes(file):
        fewer = not list_changes(file) and [entry for entry in frozen if entry in asked] == asked
        return f"{title}{_FEWER if fewer else _CHANGED}"
    added = len(asked) - len(frozen)
    return title if not added else f"{title} and {added} more attack{'s' if added > 1 else ''}"


def name_frozen(file: SuiteFile) -> tuple[str, list[str]]:
    """The frozen suite or ensemble that a suite repeats ("board-digits-1", "strongest 1"), "" if it changed something
    of it; and, for a suite that takes the name of one that is frozen whole, what it changed, in words."""
    if file.ensemble and file.ensemble not in registry.suite_files():  # a file of its user's
        return "", []
    title = format_ensemble(file)
    return ("" if title.endswith((_CHANGED, _FEWER)) else title.partition(" and ")[0]), list_changes(file) or []
