"""Evidence -> statistics -> metrics. The only place where raw scores become numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench import quality
from leakbench.api import MembershipEvidence, ReplicationEvidence
from leakbench.copying import BANDS, banded, copy_report, growth, most_copied, pixel_similarity, threshold_at
from leakbench.device import Streams
from leakbench.pictures import ImagesLike
from leakbench.records import Metric
from leakbench.statistics import (
    Estimate,
    auc,
    balanced_accuracy,
    blind_invalid,
    calibration_leaks,
    finite,
    flags,
    group_z,
    set_inference,
    tpr_at_fpr,
    verdict,
)
from leakbench.weights import perceptual

TARGETS = {"tpr@fpr=0.1": 0.1, "tpr@fpr=0.01": 0.01, "tpr@fpr=0.001": 0.001}
NULL_RATE = 0.01  # share of held-out real images that may count as copies when the threshold is chosen


@dataclass
class Findings:
    """What goes into a record."""

    metrics: list[Metric]
    flags: set[str] = field(default_factory=set)
    realised_fpr: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def joined(self, other: Findings) -> Findings:
        """Both together."""
        return Findings(
            self.metrics + other.metrics,
            self.flags | other.flags,
            self.realised_fpr | other.realised_fpr,
            self.info | other.info,
        )


def metric(name: str, estimate: Estimate) -> Metric:
    """An estimate under its metric name."""
    return Metric(name=name, value=estimate.value, ci_low=estimate.low, ci_high=estimate.high, n=estimate.n)


def membership(evidence: MembershipEvidence, blind: bool) -> Findings:
    """AUC, TPR at fixed FPR, balanced accuracy, and the calibration AUC by which the strongest attack is chosen.

    `oriented_...` are the same with the sign of the scores that the calibration images asked for: where members score
    lower, a TPR of the raw scores would look like protection. No reported label has a say in it.
    """
    member, nonmember = finite(evidence.member_scores), finite(evidence.nonmember_scores)
    inside, outside = finite(evidence.calibration_member_scores), finite(evidence.calibration_nonmember_scores)
    found, calibrated, sign = auc(member, nonmember), auc(inside, outside), orientation(evidence)
    findings = Findings(
        [metric("auc", found), metric("calibration_auc", calibrated)],
        set(flags(evidence.member_scores, evidence.nonmember_scores, tuple(TARGETS.values()))),
    )
    findings.metrics.append(metric("oriented_auc", auc(sign * member, sign * nonmember)))
    for name, target in TARGETS.items():
        at = tpr_at_fpr(member, nonmember, target)
        findings.metrics.append(metric(name, at.estimate))
        findings.realised_fpr[name] = at.realised_fpr
        oriented = tpr_at_fpr(sign * member, sign * nonmember, target)
        findings.metrics.append(metric(f"oriented_{name}", oriented.estimate))
    balanced = balanced_accuracy(sign * member, sign * nonmember, sign * inside, sign * outside)
    findings.metrics.append(metric("balanced_accuracy", balanced.estimate))
    if isfinite(balanced.threshold):  # JSON has no infinity: "accept nobody" is said by its absence
        findings.info["balanced_threshold"] = sign * balanced.threshold
    findings.info["orientation"] = sign
    if min(len(member), len(nonmember)) > 1:
        z, p_value = group_z(member, nonmember)
        findings.info |= {"group_z": z, "group_p_value": p_value} if isfinite(z) else {}
    if verdict(found).kind == "inverted":
        findings.flags.add("inverted")
    if calibration_leaks(sign * inside, sign * outside, sign * member, sign * nonmember):
        findings.flags.add("calibration-leaks")
    if blind and blind_invalid(member, nonmember):
        findings.flags.add("track-invalid")
    return findings


def orientation(evidence: MembershipEvidence) -> float:
    """1 where calibration members score higher than calibration nonmembers, -1 where they score lower."""
    inside, outside = finite(evidence.calibration_member_scores), finite(evidence.calibration_nonmember_scores)
    return 1.0 if auc(inside, outside).value >= 0.5 else -1.0


def oriented(evidence: MembershipEvidence) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the reported members and nonmembers, with the sign that calibration asked for."""
    sign = orientation(evidence)
    return sign * finite(evidence.member_scores), sign * finite(evidence.nonmember_scores)


def sets(evidence: MembershipEvidence) -> Findings:
    """Data-set inference (CDI): the mean p value of sets of so many members against as many nonmembers.

    `set_null_p_value@images=` is the same of nonmembers against other nonmembers: it must stay near 1/2.
    """
    member, nonmember = finite(evidence.member_scores), finite(evidence.nonmember_scores)
    found = Findings([])
    for name, suspected, known in (
        ("set_p_value", member, nonmember),
        ("set_null_p_value", nonmember[::2], nonmember[1::2]),
    ):
        inference = set_inference(suspected, known)
        for one in inference.by_size:
            found.metrics.append(
                Metric(
                    name=f"{name}@images={one.size}", value=one.p_value, ci_low=one.low, ci_high=one.high, n=one.size
                )
            )
        if name == "set_p_value":
            found.info["set_images_needed"] = inference.smallest
    return found


def forgotten(
    evidence: MembershipEvidence, member_forgotten: np.ndarray, nonmember_alike: np.ndarray, orientation: float
) -> Findings:
    """Can images that were to be forgotten still be told from never-seen ones? At 1/2 they can not.

    `member_forgotten` (N,) and `nonmember_alike` (M,) are masks: what was to be forgotten, and the never-seen images
    that it is compared with (of the same class, where a class was forgotten). `oriented_forget_auc` has the sign that
    all calibration images asked for.
    """
    inside = finite(evidence.member_scores)[member_forgotten]
    outside = finite(evidence.nonmember_scores)[nonmember_alike]
    if min(len(inside), len(outside)) < 2:
        return Findings([], {"forget-set-too-small"})
    return Findings(
        [
            metric("forget_auc", auc(inside, outside)),
            metric("oriented_forget_auc", auc(orientation * inside, orientation * outside)),
        ]
    )


def replication(
    evidence: ReplicationEvidence, published: float | None = None, grows: bool = True, searched: int = 0
) -> Findings:
    """Copy rate at a calibrated threshold, its null on other held-out real images, the excess, unique copies.

    The same at the `published` threshold of the similarity, where there is one. `grows`: unique copies at fewer samples
    as well; not where given images were aimed at. `searched`: training images that copies were looked for in; the share
    that copies one of them is left out where it is 0.
    """
    threshold = threshold_at(evidence.threshold_similarity, NULL_RATE)
    report = copy_report(evidence.similarity, evidence.nearest, evidence.null_similarity, threshold)
    info: dict[str, Any] = {
        "threshold": threshold,
        "null_rate_aimed_at": NULL_RATE,
        "threshold_images": len(evidence.threshold_similarity),
    }
    if grows:
        report |= growth(evidence.similarity, evidence.nearest, threshold)
    if searched:
        hits = evidence.nearest[evidence.similarity >= threshold]
        report["most_copied_share"] = most_copied(hits, len(evidence.similarity), searched)
    if published is not None:
        fixed = copy_report(evidence.similarity, evidence.nearest, evidence.null_similarity, published)
        report |= {re.sub("^(copy_rate|unique_copies)", r"\1_published", name): found for name, found in fixed.items()}
        info["published_threshold"] = published
    if evidence.ordinary_similarity is not None and evidence.ordinary_nearest is not None:
        limits = [threshold_at(evidence.threshold_similarity, rate) for rate in BANDS.values()]
        report |= _banded(evidence, evidence.ordinary_similarity, evidence.ordinary_nearest, limits)
        info["band_thresholds"] = dict(zip(BANDS, limits, strict=True))
    return Findings([metric(name, found) for name, found in report.items()] + _grouped(evidence), info=info)


def _banded(
    evidence: ReplicationEvidence, ordinary: np.ndarray, ordinary_nearest: np.ndarray, limits: list[float]
) -> dict[str, Estimate]:
    """AMS and UMS of the attack's images, of as many ordinary samples, and AMS of held-out real images."""
    others = banded(ordinary, ordinary_nearest, limits)
    null = banded(evidence.null_similarity, np.zeros(len(evidence.null_similarity)), limits)
    return {
        **banded(evidence.similarity, evidence.nearest, limits),
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


def quality_of(samples: Tensor, train: Tensor, heldout: Tensor, network_evaluations: int) -> Findings:
    """Distances of samples' features (N, D) to training and held-out images', and the real-against-real floor."""
    n = min(len(samples), len(train), len(heldout))
    precision, recall = quality.precision_recall(samples, heldout)
    metrics = [
        metric("frechet", quality.frechet(samples, train)),
        metric("frechet_heldout", quality.frechet(samples, heldout)),
        metric("frechet_floor", quality.frechet(train, heldout)),
        metric("kid", quality.kid(samples, heldout)),
        metric("precision", precision),
        metric("recall", recall),
        Metric(name="network_evaluations", value=float(network_evaluations), n=len(samples)),
    ]
    return Findings(metrics, info={"images_per_side": n})


def lpips_of(samples: Tensor, train: ImagesLike, streams: Streams) -> Findings:
    """LPIPS diversity and distance to the nearest training image (by pixels); without weights, a flag says so."""
    distance = perceptual.load_lpips()
    if distance is None:
        return Findings([], {"lpips-missing"})  # `leakbench doctor` says where they go; a path has no place in a record
    closest = train[torch.from_numpy(pixel_similarity(samples, train).index)]
    return Findings(
        [
            metric("lpips_diversity", perceptual.diversity(samples, distance, streams.of("lpips pairs"))),
            metric("lpips_nearest", perceptual.nearest_distance(samples, closest, distance)),
        ]
    )


def moment_arrays(features: Tensor) -> dict[str, np.ndarray]:
    """Mean, covariance and number of features, so that a distance can be recomputed."""
    found = quality.moments(features)
    return {"mean": found.mean, "covariance": found.covariance, "n": np.array(found.n)}
