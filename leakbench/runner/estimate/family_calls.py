"""Network calls of one record of an attack, by family (rows of leakbench.results.families).

Membership attacks share calls and are counted together (leakbench.runner.estimate.dry_run). Choices of ours: the calls
of attacks on unlearning, and that those of auditing are not counted; each reported image has a prompt of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from leakbench.api import Attack, AttributeAttack, RecoveryAttack, ReplicationAttack
from leakbench.results.families import FamilyName

_UNLEARNING = 64.0  # calls a reported image of an attack on unlearning and of its null


@dataclass(frozen=True)
class AuditSize:
    """One record's audit. guided: calls of the network for one answer. walks: calls that the suite's samples take.
    reported: members and nonmembers, in whole compute batches. recovered: these, and as many reference images as there
    are nonmembers. count_own_calls: counts those of an image or a prompt of an attack that scores by itself,
    count_recovery_calls those of an image that is to be got back."""

    guided: float
    walks: float
    reported: float
    recovered: float
    count_own_calls: Callable[[Attack], float]
    count_recovery_calls: Callable[[RecoveryAttack], float]


def _count_none(attack: Any, size: AuditSize) -> float:
    return 0.0


def _count_memorisation(attack: Attack, size: AuditSize) -> float:
    return size.reported * size.count_own_calls(attack) * size.guided


def _count_replication(attack: ReplicationAttack, size: AuditSize) -> float:
    if isinstance(attack, RecoveryAttack):
        return size.recovered * size.count_recovery_calls(attack) * size.guided
    return 2 * size.walks if attack.generates else 0.0


def _count_attribute(attack: AttributeAttack, size: AuditSize) -> float:
    if attack.of != "images":
        return 2 * size.walks if attack.of == "pairs" else 0.0
    return size.reported * size.count_own_calls(attack) * size.guided


def _count_unlearning(attack: Any, size: AuditSize) -> float:
    return size.reported * _UNLEARNING * size.guided


CALLS: Final[dict[FamilyName, Callable[[Any, AuditSize], float]]] = {
    "membership": _count_none,
    "memorisation": _count_memorisation,
    "replication": _count_replication,
    "attribute": _count_attribute,
    "unlearning": _count_unlearning,
    "auditing": _count_none,
}
