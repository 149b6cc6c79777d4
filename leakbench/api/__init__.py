"""The contracts: Access, Defense, Release, Attack, Evidence. The first folder a newcomer reads.

A defense trains something (`fit`) and answers for it (`release`). An attack asks a release questions through a view
that holds what its access level permits, and emits raw scores. It never computes an AUC: the harness does, the same way
for all.

Images are float32 (N, C, H, W) in [-1, 1]; a timestep t is an integer 0 .. T - 1; labels are int64 (N,) or None.
"""

from leakbench.api.cost import Cost
from leakbench.api.defense import AuditSetting, Defense, shipped_parts
from leakbench.api.needs import Needs
from leakbench.api.skip import Skip
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.models.release import Codec, Release, void_guarantee
from leakbench.models.task import UPDATES, Artefacts, GradientCanaries, Task
from leakbench.results.evidence import (
    AttributeEvidence,
    CanaryEvidence,
    MembershipEvidence,
    MemorisationEvidence,
    PairedScores,
    RecoveryCurve,
    ReplicationEvidence,
    UnlearningEvidence,
    UnlearningScores,
)
from leakbench.results.guarantee import Guarantee
from leakbench.runtime.plugin import Access, Plugin, fit_param, release_param

from .attack import REFERENCE, Attack, AuxiliaryModel, CanaryKind, shadow_models
from .attribute import AttributeAttack, AttributeTrainingSet
from .auditing import CANARY, AuditingAttack
from .membership import Calibration, ImageSet, MembershipAttack, Query
from .memorisation import MemorisationAttack
from .pretrained import PretrainedModel, as_pretrained, find_reference, pretrained_spec
from .replication import RecoveryAttack, ReplicationAttack, SampleSet
from .unlearning import RETRAINED, QueriedModel, UnlearningAttack, UnlearningContext

__all__ = [
    "CANARY",
    "REFERENCE",
    "RETRAINED",
    "UPDATES",
    "Access",
    "Artefacts",
    "Attack",
    "AttributeAttack",
    "AttributeEvidence",
    "AttributeTrainingSet",
    "AuditSetting",
    "AuditingAttack",
    "AuxiliaryModel",
    "Calibration",
    "CanaryEvidence",
    "CanaryKind",
    "Codec",
    "Cost",
    "Defense",
    "GradientCanaries",
    "Guarantee",
    "ImageSet",
    "MembershipAttack",
    "MembershipEvidence",
    "MemorisationAttack",
    "MemorisationEvidence",
    "Needs",
    "PairedScores",
    "Plugin",
    "PretrainedModel",
    "PretrainedSpec",
    "QueriedModel",
    "Query",
    "RecoveryAttack",
    "RecoveryCurve",
    "Release",
    "ReplicationAttack",
    "ReplicationEvidence",
    "SampleSet",
    "Skip",
    "Task",
    "UnlearningAttack",
    "UnlearningContext",
    "UnlearningEvidence",
    "UnlearningScores",
    "as_pretrained",
    "find_reference",
    "fit_param",
    "pretrained_spec",
    "release_param",
    "shadow_models",
    "shipped_parts",
    "void_guarantee",
]
