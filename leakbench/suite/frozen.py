"""Frozen suites: their runs compare, because all of them were asked the same and no less.

The `version` of a suite freezes its attacks. A suite whose name ends with its version (board-digits-1) is frozen whole:
whoever takes its name may add defenses and attacks, and all else must be as it is there.
"""

from __future__ import annotations

from typing import Any

from leakbench.runtime import registry
from leakbench.runtime.toml_file import read_toml, validate
from leakbench.suite.file import SuiteFile

_FREE = ("summary", "published", "small", "defense", "attack")  # compared apart, or not at all


def format_version(name: str, version: str) -> str:
    """A frozen suite with its version, for tables: "strongest 1"; "board-digits-1", whose name has it already."""
    return name if name.endswith(f"-{version}") else f"{name} {version}" if version else ""


def list_changes(file: SuiteFile) -> list[str] | None:
    """What a suite has changed of the suite of its name, in words; None where that is none that is frozen whole."""
    path = registry.suite_files().get(file.name)
    table = {} if path is None else read_toml(path)
    if not table.get("version") or not file.name.endswith(f"-{table['version']}"):
        return None
    frozen = validate(SuiteFile, table, str(path)).model_dump(mode="json")
    own = file.model_dump(mode="json")
    asked = [key for key in frozen if key not in _FREE]
    found = [f"{key} is {own[key]!r}, not {frozen[key]!r}" for key in asked if own[key] != frozen[key]]
    for kind in ("attack", "defense"):
        lacking = [one for one in frozen[kind] if one not in own[kind]]
        found += [f"{kind} {_identity(one)!r} is changed or left out" for one in lacking]
    return found


def _identity(entry: dict[str, Any]) -> str:
    return str(entry.get("id", entry.get("name")))
