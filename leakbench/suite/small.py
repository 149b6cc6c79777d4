"""The [small] table of a suite: what `--budget` takes where the size as written is out of reach.

Three things stand in it: values by the paths of --set, `least` (by defense and parameter, what a row needs at these
sizes to mean anything: a baseline that leaks, a gate that opens), and `empty` (by defense, the reason why no number of
minutes fills its row at these sizes).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from leakbench.api import Cost, Defense
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.suite.entries import read_entries
from leakbench.suite.file import SuiteFile
from leakbench.suite.overrides import flatten


@dataclass(frozen=True)
class Small:
    """A checked [small]. values: by path. least: smallest values of scaled parameters, by defense id. empty: reasons,
    by defense id."""

    values: dict[str, Any] = field(default_factory=dict)
    least: dict[str, dict[str, int]] = field(default_factory=dict)
    empty: dict[str, str] = field(default_factory=dict)


def read_small(file: SuiteFile, where: str) -> Small:
    """Read and check [small]; its values are checked where they are applied. Raises UsageError that begins with
    `where`."""
    table = dict(file.small)
    least, empty = table.pop("least", {}), table.pop("empty", {})
    entries = {identity: (entry, kind) for identity, entry, kind in read_entries(file, "defense", where)}
    for name, part in (("least", least), ("empty", empty)):
        if not isinstance(part, dict):
            raise UsageError(f"{where}: small.{name} = {part!r}: it should be a table by the ids of defenses")
        _check_ids(part, entries, f"{where}: small.{name}")
    for identity, needs in least.items():
        entry, kind = entries[identity]
        _check_least(needs, scaled_params(kind, entry), f"{where}: small.least.{identity}")
    for identity, reason in empty.items():
        if not isinstance(reason, str) or not reason:
            raise UsageError(f"{where}: small.empty.{identity} = {reason!r}: it should be the reason, in words")
        entry, kind = entries[identity]
        if entry.get("role", kind.role) != "defense":
            raise UsageError(f"{where}: small.empty.{identity}: only a defense can be left out, no baseline or control")
    return Small(flatten(table) if table else {}, least, empty)


def scaled_params(kind: type[Defense], entry: dict[str, Any]) -> list[str]:
    """Parameters of a defense that a budget scales; `steps` where the entry lacks what its cost asks for."""
    given = {key: value[0] if isinstance(value, list) and value else value for key, value in entry.items()}
    try:
        cost = kind.model_construct(**given).cost()
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        cost = Cost()  # the check of the file names what is missing or wrong
    return [key for key in cost.budget_params if key in kind.model_fields]


def _check_ids(part: dict[str, Any], ids: Iterable[str], where: str) -> None:
    for identity in part:
        if identity not in ids:
            raise UsageError(f"{where}.{identity}: no such defense id; {nearest_name(identity, ids)}")


def _check_least(needs: Any, scaled: list[str], where: str) -> None:
    if not isinstance(needs, dict):
        raise UsageError(
            f"{where} = {needs!r}: it should name a parameter, such as {where.split(': ')[-1]}.steps = 1000"
        )
    for key, value in needs.items():
        if key not in scaled:
            raise UsageError(f"{where}.{key}: --budget scales no such parameter; {nearest_name(key, scaled)}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{where}.{key} = {value!r}: it should be a whole number from 1 on")
