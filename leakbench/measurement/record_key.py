"""The cache key of a record: a release, what is asked of it, and the code that measures and evaluates the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leakbench.api import Access, Attack, AttributeAttack, ReplicationAttack, UnlearningAttack
from leakbench.measurement.attribute import measure_attribute
from leakbench.measurement.auditing import measure_auditing
from leakbench.measurement.embedding import FeatureExtractor
from leakbench.measurement.extra_features import weights_beside
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import Parts, code_parts
from leakbench.measurement.membership import measure_membership
from leakbench.measurement.quality import measure_quality
from leakbench.measurement.replication import measure_replication
from leakbench.measurement.unlearning import measure_unlearning
from leakbench.metrics.features import file_digest, weights_at_hand
from leakbench.metrics.weights.perceptual import alexnet_weights
from leakbench.metrics.weights.sscd import sscd_weights

Roots = tuple[Callable[..., Any], ...]
QUALITY_ROOTS: Roots = (measure_quality, FeatureExtractor)
FAMILY_ROOTS: dict[str, Roots] = {  # of the code that measures and evaluates an attack's answers
    "membership": (measure_membership,),
    "replication": (measure_replication, FeatureExtractor),
    "attribute": (measure_attribute,),
    "auditing": (measure_auditing,),
    "unlearning": (measure_unlearning, FeatureExtractor),  # which has the judge
}


def record_parts(inputs: RunInputs, release: Parts, attack: Attack | None, access: Access) -> Parts:
    """All that the numbers of a record depend on. `release`: the parts of the release's key; no attack is quality."""
    if attack is None:
        return {"release": release, **code_parts(*QUALITY_ROOTS, RunInputs), **_quality_settings(inputs)}
    return {
        "release": release,
        "attack": attack.name,
        "version": attack.version,
        "parameters": attack.model_dump(mode="json"),
        "access": access.name,
        "auxiliary": [[one.name, one.kind, one.draw, one.share] for one in attack.auxiliary_models()],
        **code_parts(type(attack), *FAMILY_ROOTS[attack.family], RunInputs),
        **_attack_settings(inputs, attack),
    }


def _quality_settings(inputs: RunInputs) -> Parts:
    table = inputs.suite.file.quality
    return {
        "quality": table.model_dump(mode="json"),
        "forget": _forget_table(inputs),
        "weights": _weights(table.features),
        "weights_beside": weights_beside(inputs),
    }


def _attack_settings(inputs: RunInputs, attack: Attack) -> Parts:
    """The suite's settings that records of an attack follow."""
    table = inputs.suite.file.quality
    found: Parts = {} if attack.family in ("attribute", "replication") else {"forget": _forget_table(inputs)}
    if _reads_samples(attack):
        found["samples"] = table.samples
    if isinstance(attack, ReplicationAttack):
        found |= {"features": table.features, "weights": _weights(table.features)}
        found["images"] = inputs.config.images  # whether pictures of members are kept beside the scores
    return found


def _reads_samples(attack: Attack) -> bool:
    """Whether an attack's records follow the number of samples. Views refuse samples to all others."""
    if isinstance(attack, AttributeAttack):
        return attack.of != "images" or attack.reads_samples
    return isinstance(attack, ReplicationAttack | UnlearningAttack) or attack.reads_samples


def _forget_table(inputs: RunInputs) -> Any:
    table = inputs.suite.file.forget
    return table and table.model_dump(mode="json")


def _weights(features: str) -> dict[str, str]:
    """Hashes of the weights of feature networks that may be used."""
    return {
        features: weights_at_hand(features),
        "lpips": file_digest(alexnet_weights()),
        "sscd": file_digest(sscd_weights()),
    }
