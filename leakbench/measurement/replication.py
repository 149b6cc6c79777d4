"""Measures a replication attack on one release: copies among what it got out, and the null of real images."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, RecoveryAttack, ReplicationAttack, ReplicationEvidence
from leakbench.api.views import QueryCount
from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.data.split_groups import groups_of_copies
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.extraction import Extracted, extract_candidates, recover
from leakbench.measurement.record_contents import RecordContents
from leakbench.metrics.evaluate.replication import evaluate_replication

_PAIRS = 12  # nearest pairs kept as pictures


def measure_replication(context: AuditContext, attack: ReplicationAttack, access: Access) -> RecordContents:
    """Match what was generated; and held-out images, to choose the threshold and to measure its false-copy rate."""
    return _recovered(context, attack) if isinstance(attack, RecoveryAttack) else _matched(context, attack)


def _matched(context: AuditContext, attack: ReplicationAttack) -> RecordContents:
    began = time.perf_counter()
    drawn = extract_candidates(context.target([attack]), attack, context.samples, context.extractor)
    evidence = _evidence(context, drawn)
    metrics = evaluate_replication(evidence, drawn.attack.published, searched=len(context.inputs.split.train))
    metrics.info |= drawn.attack.facts()
    arrays = evidence.arrays | _pairs(context, drawn.images.cpu(), evidence)
    timings = {"attack": time.perf_counter() - began}
    space = attack.space(context.extractor.features.name)
    return RecordContents(metrics, arrays, timings, space, drawn.queries)


def _evidence(context: AuditContext, drawn: Extracted) -> ReplicationEvidence:
    """All images are matched together: the training images are embedded once."""
    inputs, attack = context.inputs, drawn.attack
    sets: list[ImagesLike] = [
        drawn.images,
        inputs.part("reference").to(inputs.device),
        inputs.part("nonmember").to(inputs.device),
    ]
    sets += [context.samples.to(inputs.device)] if attack.generates else []
    train = inputs.train_images.to(inputs.device)
    matches = attack.match(ImageView.concatenate(sets), train, context.extractor)
    ours, calibration, null, *ordinary = matches.split(*map(len, sets))
    real = ImageView.concatenate(sets[1:3])  # nothing was chosen on either: both serve
    count = min(len(drawn.images), len(real))
    return ReplicationEvidence(
        ours.similarity,
        ours.index,
        calibration.similarity,
        null.similarity,
        ordinary[0].similarity if ordinary else None,
        ordinary[0].index if ordinary else None,
        attack.groups(drawn.images[:count]),
        attack.groups(real.subset(slice(count))),
        ours.transforms,
        **groups_of_copies(inputs.split, ours.index),
    )


def _recovered(context: AuditContext, attack: RecoveryAttack) -> RecordContents:
    """Members are asked about, nonmembers for the null, and no more reference images than these for the threshold."""
    began = time.perf_counter()
    inputs, target, parts = context.inputs, context.target([attack]), context.inputs.split.parts
    few = parts["reference"][: len(parts["nonmember"])]
    similarity, count = {}, QueryCount()
    for name, rows in {"member": parts["member"], "reference": few, "nonmember": parts["nonmember"]}.items():
        answer, calls = recover(target, attack, context.images(rows))
        count.add(calls)
        similarity[name] = answer.double().cpu().numpy()
    itself = np.searchsorted(inputs.split.train, parts["member"])
    found = similarity["member"], itself, similarity["reference"], similarity["nonmember"]
    evidence = ReplicationEvidence(*found, **groups_of_copies(inputs.split, itself))
    metrics = evaluate_replication(evidence, attack.published, grows=False, aimed=True)
    metrics.info |= attack.facts()
    timings = {"attack": time.perf_counter() - began}
    space = attack.space(context.extractor.features.name)
    return RecordContents(metrics, evidence.arrays, timings, space, count.mean)


def _pairs(context: AuditContext, images: Tensor, evidence: ReplicationEvidence) -> dict[str, np.ndarray]:
    """The images most similar to a training image, beside it, uint8 (K, H, W, C), their similarity, and in what they
    differ where transforms were searched over.

    Without pictures the similarity alone is kept. Hashes are withheld too: whoever holds a picture could look its hash
    up and learn that it was trained on. The owner finds a pair by its numbers (`similarity` and `nearest`).
    """
    top = np.argsort(-evidence.similarity, kind="stable")[:_PAIRS]
    told = {"pair_similarity": evidence.similarity[top]}
    if evidence.transforms is not None:
        told["pair_transforms"] = evidence.transforms[top]
    if not context.inputs.config.images:
        return told
    return {
        "pair_samples": _stored(images[torch.from_numpy(top)]),
        "pair_nearest": _stored(context.inputs.train_images[torch.from_numpy(evidence.nearest[top])]),
        **told,
    }


def _stored(images: Tensor) -> np.ndarray:
    levels = ((images + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.asarray(levels.permute(0, 2, 3, 1).numpy())
