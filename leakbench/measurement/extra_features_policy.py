"""Decides which of the extra features, DINOv2 and SSCD, are measured in a run.

Neither is measured twice: not where the suite's own features are the same, or one of its attacks already asks SSCD.
Choices of ours: [quality] `beside` leaves them out; images below 32 pixels are not asked about, since a network of
photographs says little about them, enlarged seven times and more, and would cost most of a small run's time; and a
`--budget` on a CPU does without DINOv2, which takes seconds an image there, unless the suite names it.
"""

from __future__ import annotations

from leakbench.api import ReplicationAttack
from leakbench.measurement.inputs import RunInputs
from leakbench.metrics.weights.digests import file_digest
from leakbench.metrics.weights.dinov2 import lacking_dinov2
from leakbench.metrics.weights.resources import DINOV2, at_hand
from leakbench.metrics.weights.sscd import sscd_weights

SMALLEST = 32  # pixels of the shorter side


def list_extra_features(inputs: RunInputs) -> tuple[str, ...]:
    """Names of those of dinov2 and sscd that are measured beside the suite's own features on this machine."""
    table = inputs.suite.file.quality
    if min(inputs.data.shape[1:]) < SMALLEST:
        return ()
    attacks = (attack for attack in inputs.suite.attacks.values() if isinstance(attack, ReplicationAttack))
    scarce = inputs.suite.budget is not None and inputs.device.type == "cpu" and "beside" not in table.model_fields_set
    asked = {table.features, *(attack.space("") for attack in attacks), *(["dinov2"] if scarce else [])}
    here = {"dinov2": lacking_dinov2() is None, "sscd": sscd_weights() is not None}
    return tuple(name for name in table.beside if here[name] and name not in asked)


def hash_extra_weights(inputs: RunInputs) -> dict[str, str]:
    """The hashes of the weights that are used, by name: records depend on them."""
    paths = {"dinov2": at_hand(DINOV2), "sscd": sscd_weights()}
    return {name: file_digest(paths[name]) for name in list_extra_features(inputs)}
