"""Measures a release without an adversary: quality of its samples, unlearning, fairness, and cost."""

from __future__ import annotations

import time

import torch

from leakbench.api import as_pretrained
from leakbench.measurement.asked_quality import measure_asked_quality
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.record_contents import RecordContents
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.metrics.evaluate.quality import evaluate_lpips, evaluate_quality
from leakbench.metrics.evaluate.unlearning_samples import evaluate_unlearned_samples
from leakbench.metrics.fairness import evaluate_fairness
from leakbench.runtime.device import EXECUTION_KEYS


def measure_quality(context: AuditContext) -> RecordContents:
    """Measure everything that is read off samples without an adversary."""
    began = time.perf_counter()
    inputs, extractor = context.inputs, context.extractor
    features = extractor(context.samples)
    train_seconds, evaluations = context.builder.cost(context.point.chain, context.seed)
    metrics, arrays = evaluate_quality(features, extractor.train, extractor.heldout, extractor.floor, evaluations)
    on_device = context.samples.to(inputs.device), inputs.train_images.to(inputs.device)
    metrics = metrics.joined(evaluate_lpips(*on_device, inputs.streams(context.seed)))
    metrics = metrics.joined(_measure_unlearned(context, features)).joined(_measure_fairness(context))
    metrics = metrics.joined(extractor.extra.measure(context.samples))
    metrics = metrics.joined(measure_asked_quality(context, features))
    metrics.info["network_calls_a_step"] = context.release.network_calls
    unlisted = ("sample_seconds", *EXECUTION_KEYS)
    facts = {key: value for key, value in context.sampling_facts.items() if key not in unlisted}
    metrics.info["defense"] = context.release.info | facts
    last = context.builder.training_facts(context.point.chain, context.seed)[-1]
    timings = {
        "quality": time.perf_counter() - began,
        "sample": context.sampling_facts["sample_seconds"],
    }
    if not as_pretrained(context.point.chain[-1].defense):  # a given model was trained elsewhere
        timings |= {"train": train_seconds, "train_last": float(last.get("train_seconds", 0.0))}
    return RecordContents(metrics, arrays, timings, extractor.features.name)


def _measure_unlearned(context: AuditContext, features: torch.Tensor) -> MetricSet:
    label, samples, inputs = context.forgotten_label, context.forgotten_label_samples, context.inputs
    if label is None or samples is None:
        return MetricSet([])
    assert context.requested_labels is not None and inputs.data.labels is not None
    real_labels = torch.from_numpy(inputs.data.labels[inputs.heldout_rows])
    return evaluate_unlearned_samples(
        label,
        context.extractor.label_probabilities(samples),
        context.extractor.label_probabilities(inputs.heldout_images.subset(real_labels == label)),
        features[context.requested_labels != label],
        context.extractor.heldout[real_labels != label],
    )


def _measure_fairness(context: AuditContext) -> MetricSet:
    inputs = context.inputs
    if context.condition != "attribute":
        return MetricSet([])
    assert context.requested_labels is not None and inputs.split.attribute is not None
    real = torch.from_numpy(inputs.split.attribute[inputs.heldout_rows])
    whose = None if inputs.split.group is None else inputs.split.group[inputs.heldout_rows]
    streams = inputs.streams(context.seed).of("reader", "trained on samples")
    classifier = context.extractor.attribute_classifier
    return evaluate_fairness(
        context.samples, context.requested_labels, classifier, inputs.heldout_images, real, streams, whose
    )
