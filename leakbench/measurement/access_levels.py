"""Access levels at which an attack gets a record, by family (rows of leakbench.results.families)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leakbench.api import Access, Attack
from leakbench.results.families import FamilyName


def rows_written(attack: Attack, answers_raw: bool) -> dict[Access, bool]:
    """Access levels at which an attack is written, each with whether it asks the raw network there."""
    if attack.access is not Access.DENOISER:
        return {attack.access: attack.access is Access.WEIGHTS}
    return {Access.DENOISER: answers_raw, Access.WEIGHTS: True}


def _raw_and_answered(attack: Attack) -> list[Access]:
    """Its own level, and WEIGHTS as well for one that asks the denoiser: of the raw network."""
    return list(rows_written(attack, False))


def _own_level(attack: Attack) -> list[Access]:
    return [attack.access]


LEVELS: Final[dict[FamilyName, Callable[[Attack], list[Access]]]] = {
    "membership": _raw_and_answered,
    "memorisation": _raw_and_answered,
    "replication": _own_level,  # of what the service gives out
    "attribute": _raw_and_answered,
    "unlearning": _raw_and_answered,
    "auditing": _raw_and_answered,
}
