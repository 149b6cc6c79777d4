"""Metrics and flags of a record, computed again from its raw arrays by the code that wrote them.

Quality is not among them: its distances need the features of real images, which no record holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final, cast

import numpy as np

from leakbench.api import Attack, AttributeAttack, MembershipAttack, RecoveryAttack, ReplicationAttack
from leakbench.measurement.auditing import DELTA
from leakbench.measurement.membership import is_weaker_with_weights
from leakbench.metrics.evaluate.attribute import evaluate_attribute
from leakbench.metrics.evaluate.auditing import evaluate_auditing
from leakbench.metrics.evaluate.membership import ForgetMasks, evaluate_record
from leakbench.metrics.evaluate.memorisation import evaluate_memorisation
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning, unflatten_evidence
from leakbench.results.evidence import (
    AttributeEvidence,
    CanaryEvidence,
    MembershipEvidence,
    MemorisationEvidence,
    ReplicationEvidence,
)
from leakbench.results.families import FamilyName
from leakbench.results.guarantee import Guarantee
from leakbench.results.record import Record

Arrays = Mapping[str, np.ndarray]

_OF_SCORES = frozenset({"non-finite", "constant-scores", "few-groups", "inverted"})
RECOMPUTED_FLAGS: Final[dict[FamilyName, frozenset[str]]] = {  # those that follow from arrays; others rest on more
    "membership": _OF_SCORES
    | {"few-images", "few-negatives", "tied-scores", "calibration-leaks", "track-invalid", "forget-set-too-small"}
    | {"weaker-with-more-access", "detects-style", "shared-groups"},
    "memorisation": _OF_SCORES | {"no-null-prompts"},
    "replication": frozenset(),
    "attribute": _OF_SCORES | {"attribute-one-sided"},
    "unlearning": _OF_SCORES | {"not-brought-back"},
    "auditing": (_OF_SCORES - {"inverted"})
    | {"too-few-canaries", "epsilon-above-guarantee", "ceiling-below-guarantee"},
}


@dataclass(frozen=True)
class RecordArrays:
    """The arrays of a record, and what else its numbers follow from.

    attack: with the parameters of the suite; None where no plugin of its name is at hand. trained_on: training images
    of the run. answers: the arrays of the same attack where it asked the defended service, for a record at WEIGHTS.
    """

    arrays: Arrays
    attack: Attack | None = None
    trained_on: int = 0
    answers: Arrays | None = None


def recompute_record(record: Record, given: RecordArrays) -> MetricSet | None:
    """Metrics of a record, and those of its flags that follow from arrays (RECOMPUTED_FLAGS); None for quality.

    Raises ValueError, KeyError or TypeError where the arrays are none that such a record could have.
    """
    return None if record.family == "quality" else _FAMILIES[record.family](record, given)


def _membership(record: Record, given: RecordArrays) -> MetricSet:
    arrays, evidence = given.arrays, membership_evidence(given.arrays)
    forgotten = ForgetMasks(*(arrays[f.name] for f in fields(ForgetMasks))) if "member_forgotten" in arrays else None
    if isinstance(given.attack, MembershipAttack):
        sets = given.attack.sets
    else:
        sets = any(one.name.startswith("set_p_value@") for one in record.metrics)
    by_image = record.unit == "image"
    found = evaluate_record(evidence, record.access == "NONE" and by_image, forgotten, sets)
    if given.answers is not None and by_image and is_weaker_with_weights(membership_evidence(given.answers), evidence):
        found.flags.add("weaker-with-more-access")
    return found


def membership_evidence(arrays: Arrays) -> MembershipEvidence:
    """The evidence of a membership attack, of the arrays of its record. Raises KeyError where some are missing."""
    return cast(MembershipEvidence, _evidence(MembershipEvidence, arrays))


def _memorisation(record: Record, given: RecordArrays) -> MetricSet:
    return evaluate_memorisation(cast(MemorisationEvidence, _evidence(MemorisationEvidence, given.arrays)))


def _replication(record: Record, given: RecordArrays) -> MetricSet:
    evidence = cast(ReplicationEvidence, _evidence(ReplicationEvidence, given.arrays))
    published = record.info.get("published_threshold")
    if isinstance(given.attack, ReplicationAttack):
        published = given.attack.published
    if isinstance(given.attack, RecoveryAttack):
        return evaluate_replication(evidence, published, grows=False, aimed=True)
    return evaluate_replication(evidence, published, searched=given.trained_on)


def _attribute(record: Record, given: RecordArrays) -> MetricSet:
    evidence = cast(AttributeEvidence, _evidence(AttributeEvidence, given.arrays))
    of = given.attack.of if isinstance(given.attack, AttributeAttack) else record.info.get("of")
    return evaluate_attribute(evidence, balanced=of == "samples")


def _unlearning(record: Record, given: RecordArrays) -> MetricSet:
    return evaluate_unlearning(unflatten_evidence(given.arrays))


def _auditing(record: Record, given: RecordArrays) -> MetricSet:
    evidence = cast(CanaryEvidence, _evidence(CanaryEvidence, given.arrays))
    guarantee = Guarantee.from_json(record.info.get("canary_guarantee") or {})
    share = float(record.attack_params["guesses"])
    return evaluate_auditing(evidence, share, guarantee.delta or DELTA, guarantee)


def _evidence(kind: type, arrays: Arrays) -> object:
    """Evidence of a family, of those arrays that it has fields for. Raises KeyError where one is missing."""
    found = {one.name: arrays[one.name] for one in fields(kind) if one.name in arrays}
    try:
        return kind(**found)
    except TypeError as error:  # "missing 1 required positional argument: 'member_scores'"
        raise KeyError(str(error).rpartition(": ")[2]) from None


_FAMILIES: Final[dict[FamilyName, Callable[[Record, RecordArrays], MetricSet]]] = {
    "membership": _membership,
    "memorisation": _memorisation,
    "replication": _replication,
    "attribute": _attribute,
    "unlearning": _unlearning,
    "auditing": _auditing,
}
