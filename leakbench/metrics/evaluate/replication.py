"""Copy rates and their null from the evidence of a replication attack."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from leakbench.data.aligned_search import KINDS
from leakbench.metrics.copying import (
    BANDS,
    CopyGroups,
    copy_report,
    copy_shares,
    max_copy_share,
    similarity_bands,
    threshold_at,
    unique_copies_by_n,
)
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import ReplicationEvidence
from leakbench.results.record import Metric
from leakbench.statistics import (
    Estimate,
)

_PUBLISHED = re.compile("^(copy_rate|unique_copies|copied_groups)")
NULL_RATE = 0.01  # share of held-out real images that may count as copies when the threshold is chosen


def evaluate_replication(
    evidence: ReplicationEvidence,
    published: float | None = None,
    grows: bool = True,
    searched: int = 0,
    aimed: bool = False,
) -> MetricSet:
    """Copy rate at a calibrated threshold, its null on other held-out real images, the excess, unique copies; where
    images come in groups, people copied.

    The same at the `published` threshold of the similarity, where there is one. `grows`: unique copies at fewer samples
    as well. `searched`: training images that copies were looked for in; the share that copies one of them is left out
    where it is 0. `aimed`: what came back are given training images, one each.
    """
    threshold = threshold_at(evidence.threshold_similarity, NULL_RATE)
    groups = _groups(evidence, aimed)
    report = copy_report(evidence.similarity, evidence.nearest, evidence.null_similarity, threshold, groups)
    info: dict[str, Any] = {
        "threshold": threshold,
        "null_rate_aimed_at": NULL_RATE,
        "threshold_images": len(evidence.threshold_similarity),
    }
    if grows:
        report |= unique_copies_by_n(evidence.similarity, evidence.nearest, threshold)
    if searched:
        hits = evidence.nearest[evidence.similarity >= threshold]
        report["most_copied_share"] = max_copy_share(hits, len(evidence.similarity), searched)
    if evidence.transforms is not None:
        report |= copy_shares(evidence.similarity >= threshold, evidence.transforms, KINDS)
        info["transforms"] = list(KINDS)
    if published is not None:
        fixed = copy_report(evidence.similarity, evidence.nearest, evidence.null_similarity, published, groups)
        report |= {_PUBLISHED.sub(r"\1_published", name): found for name, found in fixed.items()}
        info["published_threshold"] = published
    if evidence.ordinary_similarity is not None and evidence.ordinary_nearest is not None:
        limits = [threshold_at(evidence.threshold_similarity, rate) for rate in BANDS.values()]
        report |= _banded(evidence, evidence.ordinary_similarity, evidence.ordinary_nearest, limits)
        info["band_thresholds"] = dict(zip(BANDS, limits, strict=True))
    return MetricSet([metric(name, found) for name, found in report.items()] + _grouped(evidence), info=info)


def _groups(evidence: ReplicationEvidence, aimed: bool) -> CopyGroups | None:
    """aimed: the images are the training images themselves, as far as they came back."""
    copied, heldout = evidence.copied_groups, evidence.heldout_groups
    return None if copied is None or heldout is None else CopyGroups(copied, heldout, copied if aimed else None)


def _banded(
    evidence: ReplicationEvidence, ordinary: np.ndarray, ordinary_nearest: np.ndarray, limits: list[float]
) -> dict[str, Estimate]:
    """AMS and UMS of the attack's images, of as many ordinary samples, and AMS of held-out real images."""
    others = similarity_bands(ordinary, ordinary_nearest, limits)
    null = similarity_bands(
        evidence.null_similarity, np.zeros(len(evidence.null_similarity)), limits, evidence.heldout_groups
    )
    return {
        **similarity_bands(evidence.similarity, evidence.nearest, limits),
        **{f"{name}_ordinary": found for name, found in others.items()},
        **{f"{name}_null": found for name, found in null.items() if name.startswith("ams")},
    }


def _grouped(evidence: ReplicationEvidence) -> list[Metric]:
    """The share of images that repeat one another, beside that of as many real ones; without intervals, as the images
    of a group are not independent."""
    found = {"grouped_rate": evidence.group, "grouped_rate_null": evidence.null_group}
    return [
        Metric(name=name, value=float((group >= 0).mean()), n=len(group))
        for name, group in found.items()
        if group is not None
    ]
