"""The families of attacks, one row each: what every room may know of a family before it knows any attack.

Rooms above add their own columns under the same names: the contracts (leakbench.api.families), measuring, evaluating
and what is written (leakbench.measurement.families), the conformance checks (leakbench.testing.conformance), and the
network calls of a record (leakbench.runner.estimate.family_calls). A test holds that no table lacks a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from leakbench.results.evidence import (
    AttributeEvidence,
    CanaryEvidence,
    MembershipEvidence,
    MemorisationEvidence,
    ReplicationEvidence,
    UnlearningEvidence,
)

FamilyName = Literal["membership", "memorisation", "replication", "attribute", "unlearning", "auditing"]


@dataclass(frozen=True)
class Family:
    """One family. evidence: the raw scores that its attacks leave. of_given_models: `leakbench audit` runs it on a
    model as it was handed in; the others ask about a training that the harness has to have done itself. rests_on_split:
    its numbers compare images that were trained on with images that were not, and mean nothing where these differ in
    more than that."""

    evidence: type
    of_given_models: bool = False
    rests_on_split: bool = False


FAMILIES: Final[dict[FamilyName, Family]] = {
    "membership": Family(MembershipEvidence, of_given_models=True, rests_on_split=True),
    "memorisation": Family(MemorisationEvidence, of_given_models=True, rests_on_split=True),
    "replication": Family(ReplicationEvidence, of_given_models=True),
    "attribute": Family(AttributeEvidence),
    "unlearning": Family(UnlearningEvidence, rests_on_split=True),
    "auditing": Family(CanaryEvidence),
}
