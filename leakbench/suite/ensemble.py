"""Frozen sets of attacks: a suite with a `version`, whose attacks other suites take over by the key `ensemble`.

An audit names its set by the same key, and runs what of it can be run on a given model. The suite NAME has the newest
version of a set; an earlier one that is kept stands in NAME-VERSION. The attacks of a run tell which of them it was.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """The frozen set that a suite runs and what was changed or added, for tables: "strongest 1 and 2 more attacks";
    "standard 1, as far as it applies, and 2 more attacks" where attacks of the set are missing and all others are as it
    has them. Empty where the suite has no version and names no ensemble."""
    name = file.ensemble or file.name
    if not file.ensemble and (not file.version or name not in registry.suite_files()):
        return format_version(name, file.version)
    table = _find_version(name, file.attack)
    frozen = [dict(entry) for entry in table.get("attack", [])]
    kept = [entry for entry in frozen if entry in file.attack]
    ids = {_id_of(entry) for entry in frozen}
    title = format_version(str(table["name"]), str(table["version"]))
    if list_changes(file) or any(_id_of(entry) in ids and entry not in kept for entry in file.attack):
        return f"{title}{_CHANGED}"
    more = f" and {added} more attack{'s' * (added > 1)}" if (added := len(file.attack) - len(kept)) else ""
    return f"{title}{more}" if kept == frozen else f"{title}{_FEWER}{',' * bool(more)}{more}"


def _find_version(name: str, attacks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The suite of a frozen set that has most of some attacks in it; of equals the one that has no others beside."""
    newest = read_toml(registry.suite_path(name))
    files = [path for stem, path in registry.suite_files().items() if stem.startswith(f"{name}-")]
    earlier = [table for table in map(read_toml, files) if table["name"] == newest["name"]]

    def match(table: dict[str, Any]) -> tuple[int, int]:
        entries = table.get("attack", [])
        return sum(entry in attacks for entry in entries), -len(entries)

    return max([newest, *earlier], key=match)


def _id_of(entry: dict[str, Any]) -> str:
    return str(entry.get("id", entry["name"]))


def name_frozen(file: SuiteFile) -> tuple[str, list[str]]:
    """The frozen suite or ensemble that a suite repeats ("board-digits-1", "strongest 1"), "" if it changed something
    of it; and, for a suite that takes the name of one that is frozen whole, what it changed, in words."""
    if file.ensemble and file.ensemble not in registry.suite_files():  # a file of its user's
        return "", []
    title = format_ensemble(file)
    whole = not any(words in title for words in (_CHANGED, _FEWER))
    return title.partition(" and ")[0] if whole else "", list_changes(file) or []
