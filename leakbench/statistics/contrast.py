"""AUCs of disjoint sets of images compared: sum_i w_i AUC_i, an estimate of 0 where they do not differ.

MOVER for linear combinations (Zou, Huang and Zhang, Computational Statistics and Data Analysis 53, 2009): with `auc`'s
intervals [l_i, h_i],
    low = d - sqrt(sum_i (w_i (AUC_i - b_i))^2),   b_i = l_i where w_i > 0 and h_i elsewhere,   high likewise.

Choices of ours: MOVER where a plain z would add DeLong's variances. With many images the two agree; with few, DeLong's
variance is often zero by luck, and `auc`'s interval is not. The p value is the largest 1 - level at which the interval
still holds 0. Of two equal AUCs (.5, .7 or .9, from 5 to 100 images a side, 4,000 repetitions) it falls below 5 % in
.1 to 5.5 % and below .5 % in 0 to .5 %, that of a plain z in .8 to 6.8 % and in .03 to 1.7 % (`python
tests/leakbench/statistics/test_contrast.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from numpy.typing import ArrayLike

from ._scores import tail
from .auc import Measured, measured
from .estimate import Estimate

_FURTHEST = 37.0  # standard normal quantile beyond which a tail probability is no longer a float


@dataclass(frozen=True)
class Contrast:
    """The combination with its interval, and the two-sided p value of "it is 0"."""

    estimate: Estimate
    p_value: float


def contrast(
    groups: Sequence[tuple[ArrayLike, ArrayLike]], weights: Sequence[float] = (1.0, -1.0), level: float = 0.95
) -> Contrast:
    """The sum of `weights` times the AUCs of `groups`, each `(member, nonmember)`; no image may be in two groups.

    By default the first AUC minus the second. `n` is the smallest of all sides. Raises ValueError as `auc` does, and
    unless there is one weight a group.
    """
    found = [measured(member, nonmember) for member, nonmember in groups]
    if not found or len(found) != len(weights):
        raise ValueError(f"{len(found)} groups and {len(weights)} weights: one weight a group is needed")
    low, high = _interval(found, weights, tail(level))
    value = sum(weight * one.value for weight, one in zip(weights, found, strict=True))
    return Contrast(Estimate(value, low, high, min(one.n for one in found)), _p_value(found, weights))


def _interval(found: Sequence[Measured], weights: Sequence[float], alpha: float) -> tuple[float, float]:
    value = below = above = 0.0
    for one, weight in zip(found, weights, strict=True):
        low, high = one.interval(alpha)
        down, up = (one.value - low, high - one.value) if weight > 0 else (high - one.value, one.value - low)
        value += weight * one.value
        below += (weight * down) ** 2
        above += (weight * up) ** 2
    return value - sqrt(below), value + sqrt(above)


def _p_value(found: Sequence[Measured], weights: Sequence[float]) -> float:
    """Bisects the width, in standard normal quantiles, at which the interval begins to hold 0."""
    from scipy.special import ndtr

    narrow, wide = 0.0, _FURTHEST
    for _ in range(60):
        middle = (narrow + wide) / 2
        low, high = _interval(found, weights, float(ndtr(-middle)))
        narrow, wide = (narrow, middle) if low <= 0 <= high else (middle, wide)
    return 2 * float(ndtr(-narrow))
