"""The contract of each attack family: the class that its attacks derive from (rows of leakbench.results.families)."""

from __future__ import annotations

from leakbench.api.attack import Attack
from leakbench.api.attribute import AttributeAttack
from leakbench.api.auditing import AuditingAttack
from leakbench.api.membership import MembershipAttack
from leakbench.api.memorisation import MemorisationAttack
from leakbench.api.replication import ReplicationAttack
from leakbench.api.unlearning import UnlearningAttack
from leakbench.results.families import FamilyName

CONTRACTS: dict[FamilyName, type[Attack]] = {
    "membership": MembershipAttack,
    "memorisation": MemorisationAttack,
    "replication": ReplicationAttack,
    "attribute": AttributeAttack,
    "unlearning": UnlearningAttack,
    "auditing": AuditingAttack,
}


def family_of(kind: type) -> FamilyName | None:
    """The family whose contract a class keeps: it derives from the family's class and says its name. None if neither
    or only one of the two holds."""
    family = getattr(kind, "family", None)
    contract = CONTRACTS.get(family) if isinstance(family, str) else None  # type: ignore[call-overload]
    return family if contract is not None and issubclass(kind, contract) else None
