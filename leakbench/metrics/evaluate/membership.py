"""Evidence of membership attacks -> metrics, by the statistics."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from leakbench.metrics.evaluate.generated import judge_generated
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.evaluate.shares import estimate_shares
from leakbench.results.evidence import MembershipEvidence
from leakbench.results.record import Metric
from leakbench.statistics import (
    EXACT_LEVEL,
    auc,
    balanced_accuracy,
    blind_invalid,
    calibration_leaks,
    exact_p_value,
    finite,
    flags,
    group_z,
    mean_scores,
    oriented,
    permutation_p_value,
    set_inference,
    share_groups,
    tpr_at_fpr,
    verdict,
)

Groups = tuple[np.ndarray, np.ndarray]  # of members, of nonmembers

_INVALID = 0.01  # as the one-sided 99 % bound of more images
TARGETS = {"tpr@fpr=0.1": 0.1, "tpr@fpr=0.01": 0.01, "tpr@fpr=0.001": 0.001}


@dataclass(frozen=True)
class ForgetMasks:
    """Masks of the reported images where something was forgotten: `member_forgotten` (N,) bool, what was to be;
    `nonmember_alike` (M,) bool, the never-seen images that it is compared with."""

    member_forgotten: np.ndarray
    nonmember_alike: np.ndarray

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The two masks, by name."""
        return dict(vars(self))


def evaluate_record(evidence: MembershipEvidence, blind: bool, forgotten: ForgetMasks | None, sets: bool) -> MetricSet:
    """All metrics of a record of a membership attack: those of `evaluate_membership` and, where generated images were
    scored, of `judge_generated`; with masks, those of `forget_set_auc`; and for an attack whose scores are also judged
    in `sets` of images, those of `dataset_inference` and `estimate_shares`."""
    metrics = evaluate_membership(evidence, blind)
    orientation = metrics.info["orientation"]
    metrics = metrics.joined(judge_generated(evidence, orientation, TARGETS))
    if evidence.is_few:
        return metrics
    if forgotten is not None:
        metrics = metrics.joined(forget_set_auc(evidence, **forgotten.arrays, orientation=orientation))
    return metrics.joined(dataset_inference(evidence)).joined(estimate_shares(evidence)) if sets else metrics


def evaluate_membership(evidence: MembershipEvidence, blind: bool) -> MetricSet:
    """AUC, TPR at fixed FPR, balanced accuracy, and the calibration AUC by which the strongest attack is chosen.

    `oriented_...` are the same with the sign of the scores that the calibration images asked for: where members score
    lower, a TPR of the raw scores would look like protection. No reported label has a say in it. Where images come in
    groups, all intervals and tests count groups. Of few images (none for calibration) see `_evaluate_few`.
    """
    if evidence.is_few:
        return _evaluate_few(evidence, blind)
    member, nonmember = finite(evidence.member_scores), finite(evidence.nonmember_scores)
    inside, outside = finite(evidence.calibration_member_scores), finite(evidence.calibration_nonmember_scores)
    groups, held_out_groups, sign = evidence.groups, evidence.calibration_groups, score_sign(evidence)
    plain = auc(member, nonmember, groups=groups)
    metrics = MetricSet(
        [metric("auc", plain), metric("calibration_auc", auc(inside, outside, groups=held_out_groups))],
        set(flags(evidence.member_scores, evidence.nonmember_scores, tuple(TARGETS.values()), groups)),
    )
    reported = oriented_scores(evidence)
    held_out = oriented(evidence.calibration_member_scores, sign), oriented(evidence.calibration_nonmember_scores, sign)
    metrics.metrics.append(metric("oriented_auc", auc(*reported, groups=groups)))
    for name, target in TARGETS.items():
        at = tpr_at_fpr(member, nonmember, target, groups=groups)
        metrics.metrics.append(metric(name, at.estimate))
        metrics.realised_fpr[name] = at.realised_fpr
        at_sign = tpr_at_fpr(*reported, target, groups=groups)
        metrics.metrics.append(metric(f"oriented_{name}", at_sign.estimate))
    balanced = balanced_accuracy(*reported, *held_out, groups=groups)
    metrics.metrics.append(metric("balanced_accuracy", balanced.estimate))
    if isfinite(balanced.threshold):  # JSON has no infinity: "accept nobody" is said by its absence
        metrics.info["balanced_threshold"] = sign * balanced.threshold
    metrics.info["orientation"] = sign
    if min(len(member), len(nonmember)) > 1:
        z, p_value = group_z(member, nonmember, groups)
        metrics.info |= {"group_z": z, "group_p_value": p_value} if isfinite(z) else {}
    if verdict(plain).kind == "inverted":
        metrics.flags.add("inverted")
    both = None if groups is None or held_out_groups is None else (held_out_groups, groups)
    if groups is not None and share_groups(*_by_side(groups, held_out_groups)):
        metrics.flags.add("shared-groups")
    if calibration_leaks(*held_out, *reported, both):
        metrics.flags.add("calibration-leaks")
    if blind and blind_invalid(member, nonmember, groups):
        metrics.flags.add("track-invalid")
    return metrics


def _by_side(reported: Groups, calibration: Groups | None) -> Groups:
    """Groups of all images that were trained on, and of all that were held out."""
    if calibration is None:
        return reported
    inside, outside = (np.concatenate(both) for both in zip(reported, calibration, strict=True))
    return inside, outside


def _evaluate_few(evidence: MembershipEvidence, blind: bool) -> MetricSet:
    """AUC and TPR of scores as they are, and the exact two-sided test of the AUC (`exact_p_value`); nothing that takes
    calibration images. The track is void where the baseline's one-sided p value is 1 % or less."""
    member, nonmember = finite(evidence.member_scores), finite(evidence.nonmember_scores)
    groups, permuted = evidence.groups, evidence.permuted_aucs
    plain = auc(member, nonmember, groups=groups)
    found = set(flags(evidence.member_scores, evidence.nonmember_scores, tuple(TARGETS.values()), groups))
    metrics = MetricSet([metric("auc", plain), metric("oriented_auc", plain)], found | {"few-images"})
    for name, target in TARGETS.items():
        at = tpr_at_fpr(member, nonmember, target, groups=groups)
        metrics.metrics += [metric(name, at.estimate), metric(f"oriented_{name}", at.estimate)]
        metrics.realised_fpr[name] = at.realised_fpr
    if permuted is None:
        p_value = exact_p_value(member, nonmember, groups)
        ranked = groups is not None and len(np.unique(groups[0])) == 1  # one person's rank is one-sided as it is
        above = p_value if ranked else p_value / 2
    else:
        p_value = permutation_p_value(plain.value, permuted)
        above = permutation_p_value(plain.value, permuted, two_sided=False)
    metrics.info |= {"orientation": 1.0, "exact_p_value": p_value}
    if p_value <= EXACT_LEVEL and plain.value < 0.5:
        metrics.flags.add("inverted")
    if groups is not None and share_groups(*groups):
        metrics.flags.add("shared-groups")
    if blind and plain.value > 0.5 and above <= _INVALID:
        metrics.flags.add("track-invalid")
    return metrics


def score_sign(evidence: MembershipEvidence) -> float:
    """1 where calibration members score higher than calibration nonmembers, or where there are none; -1 where lower."""
    if evidence.is_few:
        return 1.0
    inside, outside = finite(evidence.calibration_member_scores), finite(evidence.calibration_nonmember_scores)
    return 1.0 if auc(inside, outside).value >= 0.5 else -1.0


def oriented_scores(evidence: MembershipEvidence) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the reported members and nonmembers, with the sign that calibration asked for."""
    sign = score_sign(evidence)
    return oriented(evidence.member_scores, sign), oriented(evidence.nonmember_scores, sign)


def dataset_inference(evidence: MembershipEvidence) -> MetricSet:
    """Data-set inference (CDI): the mean p value of sets of so many members against as many nonmembers.

    `set_null_p_value@images=` is the same of nonmembers against other nonmembers: it must stay near 1/2. Where images
    come in groups, sets are of groups, each by its mean score: `@groups=`.
    """
    member, nonmember = finite(evidence.member_scores), finite(evidence.nonmember_scores)
    unit = "images"
    if evidence.groups is not None:
        member, nonmember = (mean_scores(x, g) for x, g in zip((member, nonmember), evidence.groups, strict=True))
        unit = "groups"
    metrics = MetricSet([])
    for name, suspected, known in (
        ("set_p_value", member, nonmember),
        ("set_null_p_value", nonmember[::2], nonmember[1::2]),
    ):
        inference = set_inference(suspected, known)
        for one in inference.by_size:
            metrics.metrics.append(
                Metric(
                    name=f"{name}@{unit}={one.size}", value=one.p_value, ci_low=one.low, ci_high=one.high, n=one.size
                )
            )
        if name == "set_p_value":
            metrics.info[f"set_{unit}_needed"] = inference.smallest
    return metrics


def forget_set_auc(
    evidence: MembershipEvidence, member_forgotten: np.ndarray, nonmember_alike: np.ndarray, orientation: float
) -> MetricSet:
    """AUC of images that were to be forgotten against never-seen ones. At 1/2 they can not be told apart.

    `member_forgotten` (N,) and `nonmember_alike` (M,) are masks: what was to be forgotten, and the never-seen images
    that it is compared with (of the same class, where a class was forgotten). `oriented_forget_auc` has the sign that
    all calibration images asked for.
    """
    sides = evidence.member_scores[member_forgotten], evidence.nonmember_scores[nonmember_alike]
    if min(len(sides[0]), len(sides[1])) < 2:
        return MetricSet([], {"forget-set-too-small"})
    groups = evidence.groups
    if groups is not None:
        groups = groups[0][member_forgotten], groups[1][nonmember_alike]
    named = {"forget_auc": 1.0, "oriented_forget_auc": orientation}
    return MetricSet(
        [
            metric(name, auc(oriented(sides[0], sign), oriented(sides[1], sign), groups=groups))
            for name, sign in named.items()
        ]
    )
