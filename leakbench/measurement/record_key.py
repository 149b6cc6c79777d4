"""The cache key of a record: a release, what is asked of it, and the code that measures and evaluates the answer."""

from __future__ import annotations

from typing import Any

from leakbench.api import Attack
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.extra_features_policy import hash_extra_weights
from leakbench.measurement.families import MEASUREMENTS
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import Parts, code_parts
from leakbench.measurement.quality import measure_quality
from leakbench.measurement.record_contents import RecordSpec
from leakbench.metrics.weights.digests import feature_weights_digest, file_digest
from leakbench.metrics.weights.perceptual import alexnet_weights
from leakbench.metrics.weights.sscd import sscd_weights


def record_parts(inputs: RunInputs, release: Parts, attack: Attack | None, row: RecordSpec) -> Parts:
    """All that the numbers of a record depend on. `release`: the parts of the release's key; no attack is quality."""
    if attack is None:
        return {
            "release": release,
            **code_parts(measure_quality, FeatureExtractor, AuditContext, RunInputs),
            "quality": inputs.suite.file.quality.model_dump(mode="json"),
            "forget": _forget_table(inputs),
            "weights": _hash_weights(inputs) | {"beside": hash_extra_weights(inputs)},
        }
    return {
        "release": release,
        "attack": attack.name,
        "version": attack.version,
        "parameters": attack.model_dump(mode="json"),
        "access": row.access.name,
        **({} if row.unit == "image" else {"unit": row.unit}),
        "auxiliary": [[one.name, one.kind, one.draw, one.share] for one in attack.auxiliary_models()],
        **code_parts(type(attack), *MEASUREMENTS[attack.family].code, AuditContext, RunInputs),
        **_settings(inputs, attack),
    }


def _settings(inputs: RunInputs, attack: Attack) -> Parts:
    """The settings of the suite and of the run that the records of an attack follow."""
    family, table, found = MEASUREMENTS[attack.family], inputs.suite.file.quality, Parts()
    controlled = attack.family == "membership" and inputs.suite.file.generated_control
    if family.reads_samples(attack) or controlled:
        found["samples"] = table.samples
    if controlled:
        found["generated_control"] = True
    if family.reads_features:
        found |= {"features": table.features, "weights": _hash_weights(inputs)}
    if family.reads_forget_set or any(model.kind == "retrained" for model in attack.auxiliary_models()):
        found["forget"] = _forget_table(inputs)
    if family.keeps_pictures:
        found["images"] = inputs.config.images
    return found


def _forget_table(inputs: RunInputs) -> Any:
    table = inputs.suite.file.forget
    return table and table.model_dump(mode="json")


def _hash_weights(inputs: RunInputs) -> Parts:
    """Hashes of the weights of feature networks that lie on this machine."""
    return {
        "features": feature_weights_digest(inputs.suite.file.quality.features),
        "lpips": file_digest(alexnet_weights()),
        "sscd": file_digest(sscd_weights()),
    }
