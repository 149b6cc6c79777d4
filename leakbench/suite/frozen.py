"""Frozen suites: those with a `version`, whose runs compare because they were asked the same and no less.

A submission may add defenses and attacks to such a suite. All else must be as the suite has it.
"""

from __future__ import annotations

from typing import Any

from leakbench.runtime import registry
from leakbench.runtime.toml_file import read_toml, validate
from leakbench.suite.ensemble import format_ensemble
from leakbench.suite.file import SuiteFile

_FREE = ("summary", "published", "small", "defense", "attack")  # compared apart, or not at all


def name_frozen(file: SuiteFile) -> tuple[str, list[str]]:
    """The frozen suite that a suite repeats ("board-digits-1 1"), or else the frozen ensemble whose attacks it has
    ("strongest 1"), or else ""; and, for a suite of a frozen one's name, what it has changed of that, in words."""
    changed = list_changes(file)
    if changed is not None and not changed:
        return f"{file.name} {file.version}", []
    if file.ensemble and file.ensemble not in registry.suite_files():  # a file of its user's
        return "", changed or []
    title = format_ensemble(file) if changed is None or file.ensemble else ""
    return ("" if title.endswith(", changed") else title.partition(" and ")[0]), changed or []


def list_changes(file: SuiteFile) -> list[str] | None:
    """What a suite has changed of the frozen suite of its name, in words; None where its name is not that of one."""
    path = registry.suite_files().get(file.name)
    if path is None or not (table := read_toml(path)).get("version") or "ensemble" in table:
        return None
    frozen = validate(SuiteFile, table, str(path)).model_dump(mode="json")
    own = file.model_dump(mode="json")
    found = [
        f"{key} is {own[key]!r}, not {frozen[key]!r}" for key in frozen if key not in _FREE and own[key] != frozen[key]
    ]
    found += [f"attack {_id(one)!r} is changed or left out" for one in _lacking(frozen["attack"], own["attack"])]
    return found + [
        f"defense {_id(one)!r} is changed or left out" for one in _lacking(frozen["defense"], own["defense"])
    ]


def _lacking(frozen: list[dict[str, Any]], own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in frozen if one not in own]


def _id(entry: dict[str, Any]) -> str:
    return str(entry.get("id", entry.get("name")))
