"""Number of images that an AUC needs, for an interval of a wanted width or to see an effect of a wanted size.

The standard error of an AUC A from n members and m nonmembers (Hanley and McNeil, Radiology 143, 1982):
    Q1 = A / (2 - A),   Q2 = 2 A^2 / (1 + A),
    error^2 = (A (1 - A) + (n - 1) (Q1 - A^2) + (m - 1) (Q2 - A^2)) / (n m).

Choices of ours. "To see" is to find with 80 % probability by a two-sided 5 % test, as the verdict does. Numbers planned
are of members and of nonmembers, as many of each; where the groups differ, the smaller one counts.
`power_tpr.py` does the same for a TPR. Where images come in groups (people), n is `effective_images`: the variance of a
mean of k images correlated by r is (1 + (k - 1) r) / k of one image's, and an AUC's about as much (tests simulate it).
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from ._scores import tail

POWER = 0.8


def auc_half_width(auc: float, n: int, level: float = 0.95) -> float:
    """Half the width of the interval of an AUC in (0, 1) from `n` members and `n` nonmembers.

    Raises ValueError for an AUC or a level outside (0, 1), and if `n` is below 1.
    """
    from scipy.special import ndtri

    return -float(ndtri(tail(level))) * hanley_mcneil(auc, n)


def auc_images(auc: float, half_width: float, level: float = 0.95) -> int:
    """The least n at which `auc_half_width` is `half_width` or less. Raises ValueError as it does, or for 0."""
    if not half_width > 0:
        raise ValueError(f"the half-width must be above 0, got {half_width}")
    return least(lambda n: auc_half_width(auc, n, level) <= half_width)


def smallest_detectable_auc(n: int, level: float = 0.95) -> float:
    """The least AUC above 1/2, at most 1, that `n` members and `n` nonmembers show with 80 % power: that the interval
    of `level` lies above 1/2 (at 95 %, a two-sided test at 5 %).

    The standard error is the one at AUC 1/2. Raises ValueError if `n` is below 1, and for a level outside (0, 1).
    """
    from scipy.special import ndtri

    return min(1.0, 0.5 + float(ndtri(POWER) - ndtri(tail(level))) * hanley_mcneil(0.5, n))


def auc_images_to_see(auc: float) -> int:
    """The least n at which `smallest_detectable_auc` is `auc`, in (1/2, 1), or less."""
    if not 0.5 < auc < 1:
        raise ValueError(f"an AUC to be seen lies in (0.5, 1), got {auc}")
    return least(lambda n: smallest_detectable_auc(n) <= auc)


def effective_images(groups: int, images_per_group: float, correlation: float = 1.0) -> int:
    """Number of independent images that tell as much as so many groups of as many images: `n` of the functions here.

    `correlation` in [0, 1] is that of scores within a group; at 1, the default, groups are counted. Raises ValueError
    outside, below one group, and below one image a group.
    """
    if groups < 1 or images_per_group < 1 or not 0 <= correlation <= 1:
        raise ValueError(f"{groups} groups of {images_per_group} images, correlation {correlation}: out of range")
    return int(groups * images_per_group / (1 + (images_per_group - 1) * correlation) + 1e-9)


def hanley_mcneil(auc: float, n: int, m: int | None = None) -> float:
    """The standard error of an AUC from `n` members and `m` nonmembers, by default as many."""
    m = n if m is None else m
    if not 0 < auc < 1:
        raise ValueError(f"an AUC to plan for lies in (0, 1), got {auc}")
    if min(n, m) < 1:
        raise ValueError(f"n must be at least 1, got {min(n, m)}")
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return sqrt(auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / sqrt(n * m)


def least(enough: Callable[[int], bool], start: int = 1) -> int:
    """The least whole number from `start` up that is `enough`, if all larger ones are."""
    high = start
    while not enough(high):
        high *= 2
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
