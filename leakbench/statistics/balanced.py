"""Balanced accuracy, (TPR + TNR) / 2, of a threshold that was chosen on calibration images and frozen.

Choices of ours. The candidates are the calibration scores and inf; among thresholds that are equally good on
calibration the highest wins, the one that accuses fewest. Reported images choose nothing, so the two rates are plain
binomials on disjoint images: their Clopper-Pearson intervals are joined by MOVER (see `proportions`), halved. An
attack that orders the wrong way round freezes a threshold that accuses (almost) nobody and stands at 1/2: no sign is
flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import ArrayLike

from ._scores import checked
from .estimate import Estimate
from .groups import Groups, fewer_groups
from .proportions import proportion
from .roc import roc_curve
from .tpr import tpr_at_threshold


@dataclass(frozen=True)
class BalancedAccuracy:
    """Balanced accuracy on the reported images, and the frozen threshold (`score >= threshold`; may be inf)."""

    estimate: Estimate
    threshold: float


def balanced_accuracy(
    member: ArrayLike,
    nonmember: ArrayLike,
    calibration_member: ArrayLike,
    calibration_nonmember: ArrayLike,
    level: float = 0.95,
    groups: Groups | None = None,
) -> BalancedAccuracy:
    """Chooses a threshold on the calibration scores and measures it on the reported ones, all 1-D; value in [0, 1].

    The estimate's `n` is the smaller reported side's size. `groups` are those of the reported members and nonmembers:
    the rates' intervals are then those of `proportion`, Raises ValueError where scores are empty
    or not finite, and for a level outside (0, 1).
    """
    threshold = _best_threshold(calibration_member, calibration_nonmember)
    nonmembers = checked(nonmember)
    ours, theirs = (None, None) if groups is None else groups
    tpr = tpr_at_threshold(member, threshold, level, ours)
    tnr = proportion(nonmembers < threshold, level, theirs)
    value = (tpr.value + tnr.value) / 2
    low = value - hypot(tpr.value - tpr.low, tnr.value - tnr.low) / 2
    high = value + hypot(tpr.high - tpr.value, tnr.high - tnr.value) / 2
    n, fewest = min(tpr.n, tnr.n), fewer_groups(tpr, tnr)
    return BalancedAccuracy(Estimate(value, max(low, 0.0), min(high, 1.0), n, fewest), threshold)


def _best_threshold(member: ArrayLike, nonmember: ArrayLike) -> float:
    curve = roc_curve(member, nonmember)
    # Rounded, lest float noise decides between equals; argmax takes the first, and thresholds fall.
    gain = np.round(curve.tpr - curve.fpr, 12)
    return float(curve.thresholds[int(np.argmax(gain))])
