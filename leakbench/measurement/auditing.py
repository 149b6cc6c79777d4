"""Measures an auditing attack: on a canary release of its own, trained by the same chain of defenses as the target.

The bound speaks of the training that the target had, on other images: the guarantees of both are in `info`, and should
be alike. The canaries are all images but the reference part, or half of those with something made of them
(leakbench.measurement.canaries), each included by an independent fair coin. Where images come in groups (people), a
whole group has one coin: the bound is then of all images of a person, and stands beside what is stated by person.

Where a later step of the chain voided a guarantee, the bound is taken at the delta of the guarantee that was lost, so
that the bounds of a chain can be read beside each other; that guarantee is in `info` as well.
"""

from __future__ import annotations

import time
from typing import Any, cast

import numpy as np
import torch

from leakbench.api import Access, AuditingAttack, AuxiliaryModel, CanaryEvidence, Guarantee
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.canaries import Canaries
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.measurement.record_contents import RecordContents
from leakbench.metrics.evaluate.auditing import evaluate_auditing

DELTA = 1e-5  # where no guarantee is stated, or delta 0, at which a Gaussian mechanism has no epsilon


def measure_auditing(context: AuditContext, attack: AuditingAttack, access: Access) -> RecordContents:
    """Measure one attack at one of its levels."""
    began = time.perf_counter()
    inputs, canary = context.inputs, context.auxiliary_releases((attack,))[attack.canary_model.name]
    # The attack's view has the needed release under its name as well. It is told of none that it was trained on.
    blind = AuxiliaryRelease(canary.source, np.empty(0, dtype=np.int64))
    target = AttackTarget(canary.source, inputs.streams(context.seed), {attack.canary_model.name: blind})
    asked = {"it": AttackRequest(cast(Any, attack), access is Access.WEIGHTS)}
    canaries = Canaries.of(inputs.split, attack.canary_model, context.seed)
    scores, queries = target.score(asked, _shown(context, canaries))
    evidence = CanaryEvidence(scores["it"], np.isin(canaries.rows, canary.rows), canaries.groups)
    guarantee = canary.source.release.guarantee
    lost = _lost_guarantee(context, attack.canary_model) if guarantee.void else Guarantee()
    delta = guarantee.delta or lost.delta or DELTA
    metrics = evaluate_auditing(evidence, attack.guesses, delta, guarantee)
    metrics.info |= {
        "canary_guarantee": guarantee.to_json(),
        "target_guarantee": context.release.guarantee.to_json(),
        **({"lost_guarantee": lost.to_json()} if lost.is_stated else {}),
    }
    timings = {"attack": time.perf_counter() - began}
    return RecordContents(metrics, evidence.arrays, timings, queries=queries["it"])


def _lost_guarantee(context: AuditContext, model: AuxiliaryModel) -> Guarantee:
    """The last guarantee that the canary chain stated before a step voided it; one that states nothing if none did."""
    chain = context.point.chain
    below = (context.builder.build_release(chain[:i], context.seed, model) for i in range(len(chain) - 1, 0, -1))
    return next((one.guarantee for one in below if one.guarantee.epsilon is not None), Guarantee())


def _shown(context: AuditContext, canaries: Canaries) -> Images:
    """The canaries as they are trained on."""
    inputs, rows = context.inputs, canaries.rows
    labels = inputs.conditions(context.condition)
    if labels is not None:
        labels = canaries.labels(labels, rows) if context.condition == "label" else labels[rows]
    return Images(
        canaries.images(inputs.pictures, rows).to(inputs.device),
        torch.from_numpy(rows).to(inputs.device),
        None if labels is None else torch.from_numpy(labels).to(inputs.device),
    )
