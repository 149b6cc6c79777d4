"""The exact ROC: every distinct score is a threshold, and equal scores are one block that passes as a whole.

Fawcett, "An introduction to ROC analysis" (2006), algorithm 1, without the interpolation that would split a block: a
TPR between two steps is reached by no rule `score >= threshold`. A linear grid of thresholds misses points, and is a
known failure of published code (attacks.md, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked


@dataclass(frozen=True)
class OperatingPoint:
    """A point of a ROC: `tpr` and `fpr` in [0, 1] of the rule `score >= threshold`; inf accepts nobody."""

    tpr: float
    fpr: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Roc:
    """The steps of a ROC, each array of shape (1 + number of distinct scores,), from (0, 0) at threshold inf to (1, 1).

    `fpr` and `tpr` never decrease; `thresholds` falls strictly.
    """

    fpr: Scores
    tpr: Scores
    thresholds: Scores

    def at_fpr(self, target: float) -> OperatingPoint:
        """The largest TPR whose FPR does not exceed `target`. Raises ValueError unless `target` is in [0, 1].

        Choice of ours: where several thresholds share that TPR, the lowest of them that keeps within the target, so
        that without ties the realised FPR is the largest multiple of 1/n that the target allows. The comparison needs
        no tolerance: k / n rounds to the same float as the decimal literal it equals.
        """
        if not 0 <= target <= 1:
            raise ValueError(f"a false-positive rate lies in [0, 1], got {target}")
        last = int(np.searchsorted(self.fpr, target, side="right")) - 1
        return OperatingPoint(float(self.tpr[last]), float(self.fpr[last]), float(self.thresholds[last]))


def roc_curve(member: ArrayLike, nonmember: ArrayLike) -> Roc:
    """The exact step ROC of scores of shape (m,) and (n,). Raises ValueError where either is empty or not finite."""
    members, nonmembers = checked(member), checked(nonmember)
    thresholds = np.unique(np.concatenate([members, nonmembers]))[::-1]
    return Roc(
        fpr=np.concatenate([[0.0], share_at_least(nonmembers, thresholds)]),
        tpr=np.concatenate([[0.0], share_at_least(members, thresholds)]),
        thresholds=np.concatenate([[np.inf], thresholds]),
    )


def share_at_least(scores: Scores, thresholds: Scores) -> Scores:
    """The share of `scores` (n,) that is at or above each of `thresholds` (k,): shape (k,), in [0, 1]."""
    accepted = scores.size - np.searchsorted(np.sort(scores), thresholds, side="left")
    return np.asarray(accepted / scores.size, dtype=np.float64)
