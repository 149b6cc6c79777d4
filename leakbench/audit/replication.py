"""A replication attack against one release: its samples beside the training set, and the null of real images."""

from __future__ import annotations

import dataclasses
import hashlib
import time

import numpy as np
import torch
from torch import Tensor

from leakbench import evaluate
from leakbench.api import ReplicationAttack, ReplicationEvidence
from leakbench.audit.subject import Measured, Subject
from leakbench.copying import Matches

_PAIRS = 12  # nearest pairs kept as pictures


def measure_replication(subject: Subject, attack: ReplicationAttack) -> Measured:
    """Match samples, and held-out images twice: to choose the threshold and to measure its false-copy rate."""
    began = time.perf_counter()
    bench = subject.bench
    train = bench.train_images

    def match(queries: Tensor) -> Matches:
        return attack.match(queries.to(bench.device), train.to(bench.device), subject.embedding)

    ours, calibration, null = (
        match(images) for images in (subject.samples, bench.part("reference"), bench.part("nonmember"))
    )
    evidence = ReplicationEvidence(ours.similarity, ours.index, calibration.similarity, null.similarity)
    arrays = dataclasses.asdict(evidence) | _pairs(subject, evidence)
    timings = {"attack": time.perf_counter() - began}
    space = attack.space(subject.embedding.features.name)
    return Measured("replication", evaluate.replication(evidence), arrays, timings, space)


def _pairs(subject: Subject, evidence: ReplicationEvidence) -> dict[str, np.ndarray]:
    """The samples most similar to a training image, beside it, uint8 (K, H, W, C); withheld, their hashes."""
    top = np.argsort(-evidence.similarity, kind="stable")[:_PAIRS]
    pairs = {
        "pair_samples": _stored(subject.samples[torch.from_numpy(top)]),
        "pair_nearest": _stored(subject.bench.train_images[torch.from_numpy(evidence.nearest[top])]),
    }
    if not subject.bench.setting.images:
        pairs = {
            f"{name}_sha256": np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in images])
            for name, images in pairs.items()
        }
    return pairs | {"pair_similarity": evidence.similarity[top]}


def _stored(images: Tensor) -> np.ndarray:
    levels = ((images + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.asarray(levels.permute(0, 2, 3, 1).numpy())
