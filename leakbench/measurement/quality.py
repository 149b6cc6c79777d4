"""How good a release's samples are, what it forgot, whether its attribute can be read, and what it cost."""

from __future__ import annotations

import time

import torch

from leakbench.measurement.audit_context import AuditContext, RecordContents
from leakbench.metrics.evaluate.findings import MetricSet
from leakbench.metrics.evaluate.quality import lpips_of, moment_arrays, quality_of
from leakbench.metrics.fairness import fairness_of
from leakbench.metrics.unlearning_metrics import forgetting_of
from leakbench.runtime.device import EXECUTION_KEYS


def measure_quality(subject: AuditContext) -> RecordContents:
    """Everything that is read off samples without an adversary."""
    began = time.perf_counter()
    inputs, embedding = subject.inputs, subject.embedding
    embedded = embedding(subject.samples)
    train_seconds, evaluations = subject.builder.cost(subject.point.chain, subject.seed)
    found = quality_of(embedded, embedding.train, embedding.heldout, evaluations)
    there = subject.samples.to(inputs.device), inputs.train_images.to(inputs.device)
    found = found.joined(lpips_of(*there, inputs.streams(subject.seed)))
    found = found.joined(_forgetting(subject, embedded)).joined(_fairness(subject))
    found = found.joined(embedding.beside.findings(subject.samples))
    found.info["network_calls_a_step"] = subject.release.network_calls
    facts = {key: value for key, value in subject.facts.items() if key not in ("sample_seconds", *EXECUTION_KEYS)}
    found.info["defense"] = subject.release.info | facts
    timings = {
        "quality": time.perf_counter() - began,
        "train": train_seconds,
        "train_last": float(
            subject.builder.training_facts(subject.point.chain, subject.seed)[-1].get("train_seconds", 0.0)
        ),
        "sample": subject.facts["sample_seconds"],
    }
    return RecordContents("quality", found, moment_arrays(embedded), timings, embedding.features.name)


def _forgetting(subject: AuditContext, embedded: torch.Tensor) -> MetricSet:
    label, conditioned, inputs = subject.forgotten_label, subject.conditioned, subject.inputs
    if label is None or conditioned is None:
        return MetricSet([])
    assert subject.asked is not None and inputs.data.labels is not None
    real_labels = torch.from_numpy(inputs.data.labels[inputs.heldout_rows])
    return forgetting_of(
        label,
        subject.embedding.judge(conditioned),
        subject.embedding.judge(inputs.heldout_images.subset(real_labels == label)),
        embedded[subject.asked != label],
        subject.embedding.heldout[real_labels != label],
    )


def _fairness(subject: AuditContext) -> MetricSet:
    inputs = subject.inputs
    if subject.condition != "attribute":
        return MetricSet([])
    assert subject.asked is not None and inputs.split.attribute is not None
    real = torch.from_numpy(inputs.split.attribute[inputs.heldout_rows])
    streams = inputs.streams(subject.seed).of("reader", "trained on samples")
    reader = subject.embedding.attribute_reader
    return fairness_of(subject.samples, subject.asked, reader, inputs.heldout_images, real, streams)
