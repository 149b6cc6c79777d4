"""From the entries of a suite file to plugins: sweeps expanded, chains of `base` resolved.

Sweeps multiply along a chain. A loop is an error that names it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from leakbench.api import Attack, Defense, Plugin
from leakbench.results.record import QUALITY
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.suite.file import SuiteFile, validate

ROLES = ("baseline", "defense", "control")
FAMILIES = ("membership", "replication", "attribute", "unlearning", "auditing")
CONDITIONS = ("none", "label", "attribute")


@dataclass(frozen=True)
class ChainLink:
    """One defense of a chain, with its parameters; `condition` of its network, where it says another than [network]."""

    id: str
    defense: Defense
    condition: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The defense's, and `condition` where it is said."""
        said = {} if self.condition is None else {"condition": self.condition}
        return self.defense.model_dump(mode="json") | said


@dataclass(frozen=True)
class ReleaseSpec:
    """One point of a trade-off curve: a chain of defenses, from the one that trains the network to the outermost."""

    label: str
    chain: tuple[ChainLink, ...]
    role: str

    @property
    def id(self) -> str:
        """The outermost defense's id."""
        return self.chain[-1].id

    @property
    def parameters(self) -> dict[str, Any]:
        """The chain's parameters; those of a base are prefixed by its id."""
        bases = {f"{link.id}.{key}": value for link in self.chain[:-1] for key, value in link.parameters.items()}
        return self.chain[-1].parameters | bases


def points_of(file: SuiteFile, where: str) -> Iterator[ReleaseSpec]:
    entries = {identity: (entry, kind) for identity, entry, kind in entries_of(file, "defense", where)}
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
            build(kind, entry | dict(zip(swept, values, strict=True)), where),
        )
        for values in combinations
    ]


def attacks_of(file: SuiteFile, where: str) -> Iterator[tuple[str, Attack]]:
    for identity, entry, kind in entries_of(file, "attack", where):
        if getattr(kind, "family", None) not in FAMILIES:
            raise UsageError(
                f"{where}: attack {identity!r}: {kind.__name__} is of no family; it should be one of "
                f"{', '.join(FAMILIES)}"
            )
        yield identity, build(kind, entry, where)


def restrictions_of(file: SuiteFile, where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(attack id, ids of the only defenses that it is run against) of every [[attack]] that says `on`."""
    defenses = [identity for identity, _, _ in entries_of(file, "defense", where)]
    for identity, entry, _ in entries_of(file, "attack", where):
        if "on" in entry:
            on = [entry["on"]] if isinstance(entry["on"], str) else entry["on"]
            for one in on if isinstance(on, list) and on else [on]:
                if one not in defenses:
                    raise UsageError(
                        f"{where}: attack {identity!r}: on = {entry['on']!r}: no such defense id; "
                        f"{nearest_name(str(one), defenses)}"
                    )
            yield identity, tuple(on)


def entries_of(
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


def build(kind: type[Plugin], entry: dict[str, Any], where: str) -> Any:
    """A plugin with the parameters of a suite's entry."""
    own = ("id", "name", "base", "role", "condition") if issubclass(kind, Defense) else ("id", "name", "on")
    parameters = {key: value for key, value in entry.items() if key not in own}
    return validate(kind, parameters, f"{where}: {entry.get('id', entry['name'])}")
