"""Expands the [[defense]] entries of a suite into releases: sweeps, multiplied along chains of `base`.

A loop is an error that names it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, get_args

from leakbench.api import Defense
from leakbench.results.run_plan import Role
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.suite.entries import build_plugin, read_entries
from leakbench.suite.file import SuiteFile
from leakbench.suite.release_spec import ChainLink, ReleaseSpec

ROLES = get_args(Role)
CONDITIONS = ("none", "label", "attribute")


def expand_points(file: SuiteFile, where: str) -> Iterator[ReleaseSpec]:
    """The points of every curve, in the order of the file. Raises UsageError that begins with `where`."""
    entries = {identity: (entry, kind) for identity, entry, kind in read_entries(file, "defense", where)}
    variants: dict[str, list[tuple[str, tuple[ChainLink, ...]]]] = {}

    def expand(identity: str, above: tuple[str, ...]) -> list[tuple[str, tuple[ChainLink, ...]]]:
        """(swept parameters in words, chain) of every point of a defense, its bases' sweeps multiplied in."""
        if identity in above:
            raise UsageError(f"{where}: base: a loop: {' -> '.join([*above, identity])}")
        if identity not in variants:
            entry, kind = entries[identity]
            below = (
                [("", ())]
                if (base := _base(identity, entry, kind, entries, where)) is None
                else [(f"{base}.{words}" if words else "", chain) for words, chain in expand(base, (*above, identity))]
            )
            variants[identity] = [
                (" ".join(filter(None, [words, inner])), (*chain, ChainLink(identity, defense, entry.get("condition"))))
                for inner, chain in below
                for words, defense in _sweep(kind, entry, where)
            ]
        return variants[identity]

    for identity, (entry, kind) in entries.items():
        role = entry.get("role", kind.role)
        if role not in ROLES:
            raise UsageError(f"{where}: {identity}: role = {role!r}: it should be one of {', '.join(ROLES)}")
        _check_condition(identity, entry, where)
        for words, chain in expand(identity, ()):
            yield ReleaseSpec(f"{identity} {words}".strip(), chain, role)


def _check_condition(identity: str, entry: dict[str, Any], where: str) -> None:
    condition = entry.get("condition")
    if condition is not None and condition not in CONDITIONS:
        raise UsageError(f"{where}: {identity}: condition = {condition!r}: it should be one of {', '.join(CONDITIONS)}")
    if condition is not None and "base" in entry:
        raise UsageError(
            f"{where}: {identity}: condition = {condition!r}: its network is that of base = {entry['base']!r}; say it "
            "there"
        )


def _base(identity: str, entry: dict[str, Any], kind: type[Defense], entries: dict[str, Any], where: str) -> str | None:
    base = entry.get("base")
    if base is not None and not (kind.needs_base or kind.takes_base):
        raise UsageError(
            f"{where}: defense {identity!r}: base = {base!r}: {kind.name} trains its own network from nothing, so it "
            "takes no base"
        )
    if base is None:
        if kind.needs_base:
            raise UsageError(
                f"{where}: defense {identity!r}: key 'base' is missing: name the defense that it builds on"
            )
        return None
    if not isinstance(base, str) or base not in entries:
        raise UsageError(
            f"{where}: defense {identity!r}: base = {base!r}: no such id; {nearest_name(str(base), entries)}"
        )
    return base


def _sweep(kind: type[Defense], entry: dict[str, Any], where: str) -> list[tuple[str, Defense]]:
    """(swept parameters in words, defense) for each combination of the entry's lists."""
    swept = {key: value for key, value in entry.items() if isinstance(value, list)}
    for key, values in swept.items():
        if not values:
            raise UsageError(f"{where}: {entry.get('id', entry['name'])}: {key} = []: the sweep expands to nothing")
        if len(set(map(str, values))) < len(values):
            raise UsageError(f"{where}: {entry.get('id', entry['name'])}: {key} = {values}: a value stands there twice")
    combinations = itertools.product(*swept.values())
    return [
        (
            " ".join(f"{key}={value}" for key, value in zip(swept, values, strict=True)),
            build_plugin(kind, entry | dict(zip(swept, values, strict=True)), where),
        )
        for values in combinations
    ]
