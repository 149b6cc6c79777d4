"""Joins two suites of one name: the one that a folder holds the run of, and the one that is asked for now.

Attacks, points and seeds can be added: what was measured stays true beside them. An attack with other parameters takes
the place of its older self, unless that is one of a frozen set. The records of a run rest on all other settings, so
that two suites which differ in one of them have no run in common. The summary, the headline metric and what papers
report are no such settings: those that are asked for now stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from leakbench.api import Defense, Plugin
from leakbench.runtime import registry
from leakbench.suite.budget import list_changes
from leakbench.suite.file import SuiteFile
from leakbench.suite.load import build_suite
from leakbench.suite.suite import Suite

_JOINED = ("seeds", "defense", "attack", "version", "ensemble")
_OF_THE_LAST = ("name", "summary", "headline", "small", "published")


class OtherSettings(Exception):
    """Two suites cannot have one run. differences: the settings that keep them apart, "split.members: 300 -> 200"."""

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__(", ".join(differences))
        self.differences = tuple(differences)


def merge_suites(old: Suite, asked: Suite) -> Suite:
    """The suite with all attacks, points and seeds of both; `asked` itself, where it has those of `old`.

    Its order is that of `asked` where that has all, or else that of the older one, unless only `asked` takes over a
    frozen set of attacks, which has to stand first. Raises OtherSettings.
    """
    file, apart = _merge_files(old.file, asked.file)
    if apart:
        raise OtherSettings(apart)
    if file == asked.file:
        return asked
    merged = build_suite(file.model_dump(mode="json"), f"suite {file.name!r}")
    known = {point.label for point in (*old.points, *asked.points)}
    if any(point.label not in known for point in merged.points):  # two sweeps grew at once, and multiply
        raise OtherSettings(_list_sweeps(old.file, asked.file))
    return merged


def _merge_files(old: SuiteFile, asked: SuiteFile) -> tuple[SuiteFile, list[str]]:
    same = {key: getattr(asked, key) for key in (*_JOINED, *_OF_THE_LAST)}
    changes = list_changes(old.model_copy(update=same), asked)
    apart = [_word_change(one.path, one.published, one.used) for one in changes]
    if old.version and asked.version and old.version != asked.version:
        apart.append(_word_change("version", old.version, asked.version))
    ensemble = _merge_ensembles(old, asked)
    asked_leads = bool((asked.version and not old.version) or asked.ensemble == ensemble != old.ensemble)
    defenses, found = _merge_entries("defense", old, asked, asked_leads)
    attacks, more = _merge_entries("attack", old, asked, asked_leads)
    joined: dict[str, Any] = {"seeds": tuple(_unite(old.seeds, asked.seeds)), "defense": defenses, "attack": attacks}
    named = {"version": asked.version or old.version, "ensemble": ensemble}
    return asked.model_copy(update=joined | named), [*apart, *found, *more]


def _merge_ensembles(old: SuiteFile, asked: SuiteFile) -> str:
    """The frozen set of the suite that has all attacks of the other; else of the one that names a set, the older one
    first."""
    before, after = (entries_by_id(file.attack).keys() for file in (old, asked))
    if before <= after or after <= before:
        return asked.ensemble if before <= after else old.ensemble
    return old.ensemble or asked.ensemble


def _merge_entries(
    group: Literal["defense", "attack"], old: SuiteFile, asked: SuiteFile, asked_leads: bool
) -> tuple[tuple[dict[str, Any], ...], list[str]]:
    """The entries of both, by id, and the parameters that keep entries of one id apart."""
    before, after = entries_by_id(getattr(old, group)), entries_by_id(getattr(asked, group))
    merged, apart, is_frozen = before | after, list[str](), bool(old.version or old.ensemble)
    for identity in before.keys() & after.keys():
        if _means(group, before[identity]) == _means(group, after[identity]):
            merged[identity] = (before if is_frozen else after)[identity]  # word for word, as a frozen set has it
            continue
        merged[identity], found = _merge_entry(group, before[identity], after[identity])
        if group == "defense" or is_frozen:
            apart += [_word_change(f"{group}.{identity}.{key}", *values) for key, values in found.items()]
    order = _unite(list(before), list(after), asked_leads)
    return tuple(merged[identity] for identity in order), sorted(apart)


def _merge_entry(
    group: Literal["defense", "attack"], old: dict[str, Any], asked: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
    """The entry that asks for what both ask for, and the keys, with both values, in which they cannot be joined."""
    if old["name"] != asked["name"]:
        return asked, {"name": (old["name"], asked["name"])}
    before, after = _means(group, old), _means(group, asked)
    merged, apart = dict(asked), dict[str, tuple[Any, Any]]()
    for key in dict.fromkeys([*before, *after]):
        values = before.get(key), after.get(key)
        if key == "id" or values[0] == values[1]:
            continue
        if key == "on":
            merged = _merge_restrictions(merged, old, asked)
        elif group == "defense" and all(isinstance(one, list) for one in values):
            merged[key] = _unite(before[key], after[key])
        else:
            apart[key] = values
    return merged, apart


def _means(group: Literal["defense", "attack"], entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with the defaults of what it leaves out."""
    kind: type[Plugin] = registry.find(f"{group}s", str(entry["name"]))
    fields = {name: field for name, field in kind.model_fields.items() if not field.is_required()}
    defaults = {name: to_jsonable_python(one.get_default(call_default_factory=True)) for name, one in fields.items()}
    own = {"role": kind.role, "base": None, "condition": None} if issubclass(kind, Defense) else {}
    return defaults | own | entry


def _merge_restrictions(merged: dict[str, Any], old: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """`on` of both: an attack that is run against every defense once stays so."""
    if "on" not in old or "on" not in asked:
        return {key: value for key, value in merged.items() if key != "on"}
    before, after = ([one["on"]] if isinstance(one["on"], str) else one["on"] for one in (old, asked))
    return merged | {"on": _unite(before, after)}


def entries_by_id(entries: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Entries of [[defense]] or [[attack]] by their ids."""
    return {str(one.get("id", one.get("name"))): one for one in entries}


def _unite(old: Sequence[Any], asked: Sequence[Any], asked_leads: bool = False) -> list[Any]:
    """The values of both, each once."""
    if all(one in asked for one in old):
        return list(asked)
    first, then = (asked, old) if asked_leads else (old, asked)
    return [*first, *(one for one in then if one not in first)]


def _list_sweeps(old: SuiteFile, asked: SuiteFile) -> list[str]:
    before, after = entries_by_id(old.defense), entries_by_id(asked.defense)
    return [
        _word_change(f"defense.{identity}.{key}", value, after[identity][key])
        for identity in before.keys() & after.keys()
        for key, value in before[identity].items()
        if isinstance(value, list) and after[identity].get(key, value) != value
    ]


def _word_change(path: str, old: Any, asked: Any) -> str:
    before, after = (
        "none" if one is None else one if isinstance(one, str) else json.dumps(one) for one in (old, asked)
    )
    return f"{path}: {before or '(empty)'} -> {after or '(empty)'}"
