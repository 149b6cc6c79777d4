"""The contracts: Access, Defense, Release, Attack, Evidence. The first folder a newcomer reads.

A defense trains something (`fit`) and answers for it (`release`). An attack asks a release questions through a view
that holds what its access level permits, and emits raw scores. It never computes an AUC: the harness does, the same way
for all.

Images are float32 (N, C, H, W) in [-1, 1]; a timestep t is an integer 0 .. T - 1; labels are int64 (N,) or None.
"""

from leakbench.api.defense import Defense, Place
from leakbench.models.pretrained.spec import Given
from leakbench.models.release import Codec, Release, void
from leakbench.models.task import Artefacts, Task
from leakbench.results.evidence import (
    AttributeEvidence,
    CanaryEvidence,
    Contrast,
    Curve,
    ForgetScores,
    MembershipEvidence,
    ReplicationEvidence,
    UnlearningEvidence,
)
from leakbench.runtime.plugin import Access, Plugin, sampling, training

from .attack import Attack, Need, shadows
from .attribute import AttributeAttack, Known
from .auditing import CANARY, AuditingAttack
from .membership import Calibration, Group, MembershipAttack, Question
from .replication import Drawn, RecoveryAttack, ReplicationAttack
from .unlearning import RETRAINED, Ground, Model, UnlearningAttack

__all__ = [
    "CANARY",
    "RETRAINED",
    "Access",
    "Artefacts",
    "Attack",
    "AttributeAttack",
    "AttributeEvidence",
    "AuditingAttack",
    "Calibration",
    "CanaryEvidence",
    "Codec",
    "Contrast",
    "Curve",
    "Defense",
    "Drawn",
    "ForgetScores",
    "Given",
    "Ground",
    "Group",
    "Known",
    "MembershipAttack",
    "MembershipEvidence",
    "Model",
    "Need",
    "Place",
    "Plugin",
    "Question",
    "RecoveryAttack",
    "Release",
    "ReplicationAttack",
    "ReplicationEvidence",
    "Task",
    "UnlearningAttack",
    "UnlearningEvidence",
    "sampling",
    "shadows",
    "training",
    "void",
]
