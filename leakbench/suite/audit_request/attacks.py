"""The attacks that an audit of a given model runs.

Choices of ours: "standard" and "strongest" are frozen sets, "all" is the set `strongest` and then every other attack
that reads membership or copies, with its default parameters. Of a set, an attack that asks for shadow models, which
nobody can train without the recipe, is taken with its defaults if these need none, else left out; so is one that wants
more access than there is. A model that is told captions is asked by what reads them as well, and has the blind baseline
of captions: what knows of no caption understates how much such a model leaks. An attack that is asked for by name has
to be possible, and has the parameters of these sets: one name has the same numbers in one audit and the next. Of few
images, of which none are spared for calibration, no attack learns from images whose membership is known, but for the
blind baselines, which leave pairs of them out. Where the base of a fine-tune is known, an attack that has a twin which
is calibrated by it (`calibrated_loss` of `loss`) brings that along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leakbench.api import Access, Attack, MembershipAttack
from leakbench.results.families import FAMILIES
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.suite.audit_request.attack_sets import FROZEN, HOSTED, SETS, WORDS, read_set, split_choice

ASKED = tuple(name for name, family in FAMILIES.items() if family.of_given_models)
_OPTION = "--attacks"


@dataclass(frozen=True)
class Reach:
    """Access that an attacker has; whether the base is known that the model was fine-tuned from; and whether there are
    few images, so that there is nothing to learn from."""

    access: Access
    has_base: bool = False
    few: bool = False

    def lacks(self, kind: type[Attack]) -> str:
        """Say what an attack wants and there is not; empty if it has all."""
        if kind.access > self.access:
            return f"needs access {kind.access.name}, and what was given allows {self.access.name}"
        return ""

    def lacks_labels(self, attack: Attack) -> bool:
        """Tell whether an attack learns from images whose membership is known, and there are none to spare."""
        learns = isinstance(attack, MembershipAttack) and attack.out_of_fold and not attack.leaves_pairs_out
        return self.few and learns

    def trains(self, attack: Attack) -> bool:
        """Tell whether an attack needs models that cannot be had."""
        return any(not self.has_base or model.kind != "reference" for model in attack.auxiliary_models())


def build_entries(choice: str, reach: Reach, captioned: bool = False) -> list[dict[str, Any]]:
    """The [[attack]] entries of names with commas between, of attacks or of sets; each id once, as it stands first.
    captioned: the model is told captions, and a set has the attacks of words beside. Raises UsageError."""
    _check_names(split_choice(choice))
    found: dict[str, dict[str, Any]] = {}
    for word in split_choice(choice):
        for entry in _possible(read_set(word), reach) if word in SETS else [_named(word, reach)]:
            for one in (entry, *list_twins(entry, reach)):
                found.setdefault(str(one.get("id", one["name"])), one)
    if not set(SETS).isdisjoint(split_choice(choice)):
        beside = [*(HOSTED if reach.access is Access.API else ()), *WORDS] if captioned else []
        for entry in _possible(beside, reach):
            found.setdefault(str(entry.get("id", entry["name"])), entry)
    return list(found.values())


def list_twins(entry: dict[str, Any], reach: Reach) -> list[dict[str, Any]]:
    """Where the base is known, the twin of an attack that compares with it, with the same parameters; beside that of
    `loss` the comparison timestep by timestep."""
    name = f"calibrated_{entry['name']}"
    if not reach.has_base or name not in registry.names("attacks"):
        return []
    identity = f"calibrated_{entry.get('id', entry['name'])}"
    twin = {**entry, "name": name} | ({"id": identity} if identity != name else {})
    return [twin, *([{"name": "calibrated_curve"}] if entry["name"] == "loss" else [])]


def _check_names(words: Sequence[str]) -> None:
    """Raise UsageError that names every word which is neither an attack nor a set."""
    known = [*SETS, *registry.names("attacks")]
    if unknown := [word for word in words if word not in known]:
        said = ", ".join(f"{word!r} ({nearest_name(word, known)})" for word in unknown)
        raise UsageError(f"{_OPTION}: unknown attack{'s' * (len(unknown) > 1)} {said}")


def _possible(entries: list[dict[str, Any]], reach: Reach) -> list[dict[str, Any]]:
    """The entries that can be run against a given model, some of them with default parameters."""
    found = []
    for entry in entries:
        kind: type[Attack] = registry.find("attacks", str(entry["name"]))
        if kind.family not in ASKED or reach.lacks(kind):
            continue
        parameters = {key: value for key, value in entry.items() if key not in ("name", "id", "on")}
        if reach.lacks_labels(kind(**parameters)):
            continue
        if not reach.trains(kind(**parameters)):
            found.append(entry)
        elif not reach.trains(kind()):
            found.append({"name": entry["name"]})
    return found


def _named(name: str, reach: Reach) -> dict[str, Any]:
    """The entry of an attack that was asked for by name."""
    kind: type[Attack] = registry.find("attacks", name, _OPTION)
    if kind.family not in ASKED:
        raise UsageError(f"{_OPTION} {name}: is of family {kind.family}; an audit reads {' and '.join(ASKED)}")
    if lacking := reach.lacks(kind):
        raise UsageError(f"{_OPTION} {name}: {lacking}")
    if any(model.kind == "reference" for model in kind().auxiliary_models()) and not reach.has_base:
        raise UsageError(f"{_OPTION} {name}: compares with the base of a fine-tune: give it by --base, or --lora FILE")
    if reach.lacks_labels(kind()):
        raise UsageError(
            f"{_OPTION} {name}: learns from images whose membership is known, and of so few none can be spared: give "
            "at least 40 members and 60 nonmembers, or leave it out"
        )
    if reach.trains(kind()):
        raise UsageError(f"{_OPTION} {name}: needs other models trained by the same recipe, which an audit has not")
    frozen = [entry for one in FROZEN for entry in read_set(one) if entry.get("id", entry["name"]) == name]
    return next(iter(_possible(frozen, reach)), {"name": name})
