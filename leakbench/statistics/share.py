"""Share of a set of images that was trained on. Tong et al., ICLR 2025, data-set usage cardinality inference (DUCI).

Images whose membership is known give a threshold, the one with the largest TPR minus FPR, and both rates there. Of the
suspected set a share q lies at or above it, and what the attack gets wrong is taken out (Rogan and Gladen 1978):

    p = (q - FPR) / (TPR - FPR)

Choices of ours: p is cut to [0, 1], where the published code (ml_privacy_meter at e384af8) leaves it; the known images
are held-out ones of the same release, not of reference models; and there is an interval, which the code has not. It is
Fieller's: all p in [0, 1] for which q is within z standard errors of p TPR + (1 - p) FPR, with

    se^2 = p T (1 - T) (1 / N + p / m) + (1 - p) F (1 - F) (1 / N + (1 - p) / n)

for N suspected, m known members and n known nonmembers, and rates T and F moved to (k + 2) / (n + 4), so that none is
certain. Where the known images do not show that TPR is above FPR (by the same z), it is [0, 1]: such an attack tells
nothing of a set. Threshold and rates come from different known
images: ten folds in turn, the threshold from nine, the rates from the tenth, and the mean of each rate and of q. Where
the same images gave both, as published, rates looked better than they are, and .87 to .90 were covered at p = 0 and 1.

Coverage of a nominal 95 %, in brackets the mean width; normal scores, members shifted by so many standard deviations,
a set of 200, 1,500 repetitions (`pytest tests/leakbench/statistics/test_share.py` repeats some):
  known a side  shift    p = 0         p = .25       p = .5        p = 1
       30        0     .985 (.99)    .992 (.99)    .999 (.99)    .989 (.99)
       30        0.3   .969 (.95)    .981 (.97)    .990 (.96)    .977 (.95)
       30        1     .957 (.52)    .961 (.68)    .963 (.76)    .953 (.52)
       60        1     .959 (.31)    .952 (.52)    .969 (.64)    .960 (.33)
       60        2     .951 (.14)    .949 (.28)    .955 (.28)    .962 (.15)
      300        0.3   .977 (.74)    .973 (.86)    .973 (.90)    .970 (.74)
      300        1     .973 (.20)    .951 (.38)    .959 (.41)    .968 (.20)
      300        2     .966 (.09)    .963 (.18)    .955 (.18)    .964 (.09)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked, tail
from .estimate import Estimate
from .roc import roc_curve

_GRID = np.linspace(0.0, 1.0, 1001)
_FOLDS = 10
_PSEUDO = 2  # images of either outcome that are added to a rate's own for its variance


@dataclass(frozen=True)
class ShareEstimate:
    """The share with its interval, and the rates of the attack by which it was found, means over the folds."""

    estimate: Estimate
    tpr: float
    fpr: float


def estimate_share(suspected: ArrayLike, member: ArrayLike, nonmember: ArrayLike, level: float = 0.95) -> ShareEstimate:
    """Estimate which share of `suspected` (N,) was trained on, from scores of known members (m,) and nonmembers (n,).

    Where the attack tells members from nonmembers in no fold, the share is 0.5. Raises ValueError where scores are not
    finite, empty or, of known images, fewer than two a side, and for a level outside (0, 1).
    """
    from scipy.special import ndtri

    scores = checked(suspected)
    inside, outside = checked(member, 2), checked(nonmember, 2)
    z = float(-ndtri(tail(level)))
    tpr, fpr, above = (float(rate) for rate in np.mean(_by_fold(inside, outside, scores), axis=0))
    gap = tpr - fpr
    value = float(np.clip((above - fpr) / gap, 0, 1)) if gap > 0 else 0.5
    sizes = (inside.size, outside.size)
    low, high = 0.0, 1.0
    if gap > z * sqrt(_variance(tpr, sizes[0]) / sizes[0] + _variance(fpr, sizes[1]) / sizes[1]):
        held = _GRID[np.abs(above - fpr - _GRID * gap) <= z * _errors(tpr, fpr, *sizes, scores.size)]
        low, high = (float(held[0]), float(held[-1])) if held.size else (value, value)
    return ShareEstimate(Estimate(value, min(low, value), max(high, value), scores.size), tpr, fpr)


def _by_fold(inside: Scores, outside: Scores, scores: Scores) -> list[tuple[float, float, float]]:
    """TPR, FPR and the share of `scores` at a threshold that the other folds of the known images chose, by fold."""
    found = []
    folds = min(_FOLDS, inside.size, outside.size)
    for fold in range(folds):
        kept, left = zip(*(_without(one, fold, folds) for one in (inside, outside)), strict=True)
        curve = roc_curve(*kept)
        threshold = curve.thresholds[int(np.argmax(curve.tpr - curve.fpr))]
        tpr, fpr, above = (float((one >= threshold).mean()) for one in (*left, scores))
        found.append((tpr, fpr, above))
    return found


def _without(scores: Scores, fold: int, folds: int) -> tuple[Scores, Scores]:
    """The scores without a fold, and the fold; dealt in turn, so that each spans the order of the images."""
    inside = np.arange(scores.size) % folds == fold
    return scores[~inside], scores[inside]


def _errors(tpr: float, fpr: float, members: int, nonmembers: int, count: int) -> Scores:
    """The standard error at every p of the grid."""
    of_members = _GRID * _variance(tpr, members) * (1 / count + _GRID / members)
    of_nonmembers = (1 - _GRID) * _variance(fpr, nonmembers) * (1 / count + (1 - _GRID) / nonmembers)
    return np.asarray(np.sqrt(of_members + of_nonmembers), dtype=np.float64)


def _variance(rate: float, images: int) -> float:
    moved = (rate * images + _PSEUDO) / (images + 2 * _PSEUDO)
    return moved * (1 - moved)
