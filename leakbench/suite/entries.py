"""From the entries of a suite file, [[defense]] and [[attack]], to plugins with their parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from leakbench.api import Attack, Defense, Plugin
from leakbench.api.families import family_of
from leakbench.results.families import FAMILIES
from leakbench.results.record import QUALITY
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.runtime.toml_file import validate
from leakbench.suite.file import SuiteFile


def build_attacks(file: SuiteFile, where: str) -> Iterator[tuple[str, Attack]]:
    """(id, attack) of every [[attack]]. Raises UsageError that begins with `where`."""
    for identity, entry, kind in read_entries(file, "attack", where):
        if family_of(kind) is None:
            raise UsageError(
                f"{where}: attack {identity!r}: {kind.__name__} is of no family; it should be one of "
                f"{', '.join(FAMILIES)}"
            )
        yield identity, build_plugin(kind, entry, where)


def read_restrictions(file: SuiteFile, where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(attack id, ids of the only defenses that it is run against) of every [[attack]] that says `on`."""
    defenses = [identity for identity, _, _ in read_entries(file, "defense", where)]
    for identity, entry, _ in read_entries(file, "attack", where):
        if "on" in entry:
            on = [entry["on"]] if isinstance(entry["on"], str) else entry["on"]
            for one in on if isinstance(on, list) and on else [on]:
                if one not in defenses:
                    raise UsageError(
                        f"{where}: attack {identity!r}: on = {entry['on']!r}: no such defense id; "
                        f"{nearest_name(str(one), defenses)}"
                    )
            yield identity, tuple(on)


def read_entries(
    file: SuiteFile, group: Literal["defense", "attack"], where: str
) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(id, entry, plugin class) of every [[defense]] or [[attack]]; ids are unique."""
    seen: set[str] = set()
    for number, entry in enumerate(getattr(file, group), start=1):
        if "name" not in entry:
            raise UsageError(f"{where}: [[{group}]] number {number}: key 'name' is missing")
        identity = entry.get("id", entry["name"])
        if not isinstance(identity, str) or not re.fullmatch(r"[\w.-]+", identity) or identity == QUALITY:
            raise UsageError(
                f"{where}: {group} id {identity!r}: it should be letters, digits, '_', '-' and '.', and not {QUALITY!r}"
            )
        if identity in seen:
            raise UsageError(f"{where}: {group} id {identity!r} is used twice; give one of them another `id`")
        seen.add(identity)
        yield identity, entry, registry.find(f"{group}s", str(entry["name"]), where)


def build_plugin(kind: type[Plugin], entry: dict[str, Any], where: str) -> Any:
    """A plugin with the parameters of a suite's entry."""
    own = ("id", "name", "base", "role", "condition") if issubclass(kind, Defense) else ("id", "name", "on")
    parameters = {key: value for key, value in entry.items() if key not in own}
    return validate(kind, parameters, f"{where}: {entry.get('id', entry['name'])}")
