"""A suite file -> the plan.

A suite names a data set, a split, defenses and attacks. A list as a defense's parameter is a sweep: each value is a
point of the trade-off curve, and sweeps multiply along a chain of `base`. Unknown keys, unknown names and values out of
range are errors that name the file, the key and the nearest valid name.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leakbench import plugins
from leakbench.api import Attack, Defense, MembershipAttack, Plugin, ReplicationAttack
from leakbench.data import SplitSpec
from leakbench.errors import UsageError, nearest_name
from leakbench.records import QUALITY

ROLES = ("baseline", "defense", "control")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkTable(_Table):
    """[network]: sizes that differ from the default for the image size, and what it is conditioned on."""

    width: int | None = Field(None, ge=8)
    blocks: int | None = Field(None, ge=1)
    condition: Literal["none", "label", "attribute"] = "none"


class SamplerTable(_Table):
    """[sampler]: length of the deterministic DDIM walk, and rows of a compute batch (part of every key)."""

    steps: int = Field(50, ge=1, le=1000)
    batch: int = Field(256, ge=1)


class QualityTable(_Table):
    """[quality]: samples a release, and the embedding (auto, inception, classifier, rotation, pixels,
    torchscript:PATH)."""

    samples: int = Field(1000, ge=20)
    features: str = "auto"


class SuiteFile(_Table):
    """A suite file as written. `headline` is the TPR that ranks: at FPR 10 % where negatives are few."""

    name: str
    summary: str = ""
    dataset: str
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    headline: Literal["tpr@fpr=0.1", "tpr@fpr=0.01", "tpr@fpr=0.001"] = "tpr@fpr=0.1"
    split: SplitSpec = SplitSpec()
    network: NetworkTable = NetworkTable()
    sampler: SamplerTable = SamplerTable()
    quality: QualityTable = QualityTable()
    defense: tuple[dict[str, Any], ...] = Field(min_length=1)
    attack: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Link:
    """One defense of a chain, with its parameters."""

    id: str
    defense: Defense


@dataclass(frozen=True)
class Point:
    """One point of a trade-off curve: a chain of defenses, from the one that trains the network to the outermost."""

    label: str
    chain: tuple[Link, ...]
    role: str

    @property
    def id(self) -> str:
        """The outermost defense's id."""
        return self.chain[-1].id

    @property
    def parameters(self) -> dict[str, Any]:
        """The chain's parameters; those of a base are prefixed by its id."""
        own = self.chain[-1].defense.model_dump(mode="json")
        bases = {
            f"{link.id}.{key}": value
            for link in self.chain[:-1]
            for key, value in link.defense.model_dump(mode="json").items()
        }
        return own | bases


@dataclass(frozen=True)
class Suite:
    """A checked suite: its file, the points of its curves in order, and its attacks by id."""

    file: SuiteFile
    points: tuple[Point, ...]
    attacks: dict[str, Attack]

    @property
    def identity(self) -> str:
        """sha256 of all that the suite asks for, --set included."""
        text = json.dumps(self.file.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(name: str, overrides: tuple[str, ...] = ()) -> Suite:
    """Read a suite by name or path, apply `--set PATH=VALUE` and check everything. Raises UsageError."""
    path = plugins.suite_path(name)
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None
    for override in overrides:
        _apply(table, override)
    file = _validate(SuiteFile, table, str(path))
    plugins.dataset(file.dataset, f"{path}: dataset")
    if len(set(file.seeds)) < len(file.seeds):
        raise UsageError(f"{path}: seeds = {list(file.seeds)}: a seed stands there twice; write each once")
    points = tuple(_points(file, str(path)))
    return Suite(file, points, dict(_attacks(file, str(path))))


def _apply(table: dict[str, Any], override: str) -> None:
    """--set defense.cpsample.alpha=0.1: the path of the file; an entry of [[defense]] or [[attack]] goes by its id."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {override!r}: write PATH=VALUE, such as defense.cpsample.alpha=0.1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, key = path.split(".")
    here: Any = table
    for i, parent in enumerate(parents):
        if isinstance(here, list):
            ids = {entry.get("id", entry.get("name")): entry for entry in here}
            if parent not in ids:
                raise UsageError(f"--set {path}: no {parents[i - 1]} with id {parent!r}; {nearest_name(parent, ids)}")
            here = ids[parent]
        else:
            here = here.setdefault(parent, {})
        if not isinstance(here, (dict, list)):
            raise UsageError(f"--set {path}: {parent!r} is a value, not a table")
    if isinstance(here, list):
        raise UsageError(f"--set {path}: name an entry and a key, such as {path}.alpha")
    here[key] = value


def _validate(model: type[BaseModel], table: dict[str, Any], where: str) -> Any:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"{where}: unknown key {key!r}; {nearest_name(str(first['loc'][-1]), _keys(model, first['loc']))}"
            ) from None
        if first["type"] == "missing":
            raise UsageError(f"{where}: key {key!r} is missing") from None
        message = first["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
        if "dictionary" in message:  # pydantic names the class, which no user knows
            message = f"a table: write [{key}]"
        raise UsageError(f"{where}: {key} = {first['input']!r}: it should be {message}") from None


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The valid keys of the table that a location points into."""
    for step in location[:-1]:
        inner = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)


def _build(kind: type[Plugin], entry: dict[str, Any], where: str) -> Any:
    """A plugin with the parameters of a suite's entry."""
    own = ("id", "name", "base", "role") if issubclass(kind, Defense) else ("id", "name")
    parameters = {key: value for key, value in entry.items() if key not in own}
    return _validate(kind, parameters, f"{where}: {entry.get('id', entry['name'])}")


def _entries(
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
        yield identity, entry, plugins.find(f"{group}s", str(entry["name"]), where)


def _points(file: SuiteFile, where: str) -> Iterator[Point]:
    entries = {identity: (entry, kind) for identity, entry, kind in _entries(file, "defense", where)}
    variants: dict[str, list[tuple[str, tuple[Link, ...]]]] = {}

    def expand(identity: str, above: tuple[str, ...]) -> list[tuple[str, tuple[Link, ...]]]:
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
                (" ".join(filter(None, [words, inner])), (*chain, Link(identity, defense)))
                for inner, chain in below
                for words, defense in _sweep(kind, entry, where)
            ]
        return variants[identity]

    for identity, (entry, kind) in entries.items():
        role = entry.get("role", kind.role)
        if role not in ROLES:
            raise UsageError(f"{where}: {identity}: role = {role!r}: it should be one of {', '.join(ROLES)}")
        for words, chain in expand(identity, ()):
            yield Point(f"{identity} {words}".strip(), chain, role)


def _base(identity: str, entry: dict[str, Any], kind: type[Defense], entries: dict[str, Any], where: str) -> str | None:
    base = entry.get("base")
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
            _build(kind, entry | dict(zip(swept, values, strict=True)), where),
        )
        for values in combinations
    ]


def _attacks(file: SuiteFile, where: str) -> Iterator[tuple[str, Attack]]:
    for identity, entry, kind in _entries(file, "attack", where):
        if not issubclass(kind, (MembershipAttack, ReplicationAttack)):
            raise UsageError(
                f"{where}: attack {identity!r}: {kind.__name__} is neither a MembershipAttack nor a ReplicationAttack"
            )
        yield identity, _build(kind, entry, where)


def describe(path: Path) -> str:
    """The one-line summary of a suite file."""
    return str(tomllib.loads(path.read_text()).get("summary", ""))
