"""Warnings that raw scores carry with them or show beside others, and how scores that are no numbers are ordered.

Choice of ours: an image whose score is NaN is taken as the least member-like, together with -inf. An attack that
fails on an image has not shown that it was trained on, and dropping the image would reward failing where it is hard.
The flag `non-finite` says that it happened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores
from .auc import delong_pair
from .contrast import contrast
from .groups import Groups, count_independent, has_few_groups
from .roc import roc_curve
from .tpr import few_negatives

_LARGEST = float(np.finfo(np.float64).max)


def finite(scores: ArrayLike) -> Scores:
    """A copy of `scores`, float64, in which NaN and -inf have become the least float64 and +inf the largest.

    The bounds do not depend on the other scores, so members and nonmembers may be treated apart.
    """
    return np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=-_LARGEST, posinf=_LARGEST, neginf=-_LARGEST)


def oriented(scores: ArrayLike, sign: float) -> Scores:
    """`finite` scores read with a `sign` of 1 or -1. NaN is the least member-like score in either reading, so the sign
    comes first: minus a NaN that was already replaced would be the largest score of all."""
    return finite(sign * np.asarray(scores, dtype=np.float64))


def flags(
    member: ArrayLike, nonmember: ArrayLike, targets: Sequence[float] = (), groups: Groups | None = None
) -> tuple[str, ...]:
    """The warnings that apply to raw scores of shapes (m,) and (n,), sorted; `targets` are the FPRs that are reported.

    - `non-finite`: some score is NaN or infinite
    - `constant-scores`: all images have the same score: the attack says nothing
    - `few-negatives`: a target is below 10 / n, n counting groups where there are any
    - `few-groups`: there are fewer than ten groups on a side, and no interval is worth much
    - `tied-scores`: at a target, equal scores keep the realised FPR below what n nonmembers would allow
    Raises ValueError where either group is empty or not one-dimensional.
    """
    scores = np.concatenate([np.asarray(member, dtype=np.float64), np.asarray(nonmember, dtype=np.float64)])
    n = np.size(nonmember)
    independent = n if groups is None else count_independent(groups[1], n)
    curve = roc_curve(finite(member), finite(nonmember))
    found = {
        "non-finite": not np.isfinite(scores).all(),
        "constant-scores": curve.thresholds.size == 2,
        "few-negatives": any(few_negatives(target, independent) for target in targets),
        "few-groups": has_few_groups(groups, np.size(member), n),
        "tied-scores": any(curve.at_fpr(target).fpr < _reachable(target, n) for target in targets),
    }
    return tuple(sorted(name for name, applies in found.items() if applies))


def calibration_leaks(
    calibration_member: ArrayLike,
    calibration_nonmember: ArrayLike,
    member: ArrayLike,
    nonmember: ArrayLike,
    groups: tuple[Groups, Groups] | None = None,
) -> bool:
    """Tell whether the calibration AUC lies above the reported one, one-sided at 0.1 %.

    Both groups are drawn alike, so an attack is as strong on either; one that scores the very images it was fitted on
    is stronger there. The two are compared by `contrast`; `groups` are those of the calibration images and of the
    reported ones. Raises ValueError as `auc` does.
    """
    sets = [(calibration_member, calibration_nonmember), (member, nonmember)]
    return contrast(sets, level=0.998, groups=groups).estimate.low > 0  # leaves 0.1 % on the lower side


def weaker_with_more_access(
    weights_member: ArrayLike,
    weights_nonmember: ArrayLike,
    denoiser_member: ArrayLike,
    denoiser_nonmember: ArrayLike,
    groups: Groups | None = None,
) -> bool:
    """Tell whether an attack on the weights lies below one on the answers, one-sided at 1 %, by paired DeLong.

    Who holds the weights can do all that others can, so then the attack on the weights is not what it could be. Scores
    carry the sign that calibration gave them. Raises ValueError as `delong_pair` does.
    """
    pair = delong_pair(weights_member, weights_nonmember, denoiser_member, denoiser_nonmember, 0.98, groups)
    return pair.difference.high < 0  # leaves 1 % on the upper side


def _reachable(target: float, n: int) -> float:
    """The largest multiple of 1 / n that does not exceed `target`."""
    steps = np.arange(n + 1) / n
    return float(steps[np.searchsorted(steps, target, side="right") - 1])
