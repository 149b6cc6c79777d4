"""Differences of two measurements that share images, or sample seeds: the type, and the test by influence.

A measurement's deviation from its expectation is, to first order, a sum of one share for each unit (image, sample,
group): its influence function at that unit over their number (Hampel, JASA 69, 1974). Of two measurements on the same
units, the shares are subtracted unit by unit before they are squared,
    variance of a - b = sum_i (share_a(i) - share_b(i))^2,
so what both have in common (a hard image, a lucky noise) leaves no trace. For an AUC this is DeLong's paired variance.

Choices of ours:
- Interval and p value are those of the normal distribution, on the plain scale.
- Where no share differs, each of n disjoint units differs by the same `value`; an unseen share of them may differ by -1
  or 1, and q = 1 - (alpha / 2)^(1 / n) bounds it (`wald` with `bounded`). Of an unbounded metric (a Frechet distance)
  two measurements of the very same samples differ by nothing: the interval is a point, the p value 1.
- Over seeds nothing is averaged away: the p value is the largest of the seeds', and 1 where they differ in sign. It
  tests "at some seed there is no difference", so what is called a difference is one at every seed that was run. Holm's
  correction takes such p values as any other.
- A difference without anything in common is `independent_difference`: MOVER of the two intervals, which is as wide as
  need be and no wider; its p value takes each interval's side for a normal distribution's.

Simulated size at 5 %: .06 or less (`pytest tests/leakbench/statistics/test_paired.py
tests/leakbench/metrics/test_quality_shares.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isnan, sqrt

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, tail
from .estimate import Estimate
from .groups import fewer_groups
from .seeds import over_seeds


@dataclass(frozen=True)
class PairedDifference:
    """A measurement less another with its interval, and the two-sided p value of "no difference"."""

    difference: Estimate
    p_value: float


def wald(
    value: float, error: float, n: int, groups: int | None = None, level: float = 0.95, bounded: bool = True
) -> PairedDifference:
    """A difference of standard error `error` (0 or more). `bounded`: of two measurements in [0, 1], so in [-1, 1].

    `n`: the images of the smaller side, `groups`: its groups, if any. Raises ValueError for a level outside (0, 1).
    """
    from scipy.special import ndtr, ndtri

    alpha = tail(level)
    if error == 0:
        return _same_everywhere(value, n, groups, alpha) if bounded else _point(value, n, groups)
    half = -float(ndtri(alpha)) * error
    low, high = value - half, value + half
    if bounded:
        low, high = max(low, -1.0), min(high, 1.0)
    return PairedDifference(Estimate(value, low, high, n, groups), 2 * float(ndtr(-abs(value) / error)))


def paired_by_shares(
    first: Estimate,
    second: Estimate,
    first_shares: Sequence[ArrayLike],
    second_shares: Sequence[ArrayLike],
    level: float = 0.95,
    bounded: bool = False,
) -> PairedDifference:
    """`first` less `second`, by the shares that each unit has in either: one array a kind of unit (samples; images).

    Entry i of two arrays is the same unit: the same sample seed, the same image. `bounded` as in `wald`. Raises
    ValueError where the arrays differ in shape, and for a level outside (0, 1).
    """
    total = 0.0
    for ours, theirs in zip(first_shares, second_shares, strict=True):
        a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
        if a.shape != b.shape:
            raise ValueError(f"shares of {a.shape} units and of {b.shape}: pairs are of the same units")
        total += float(((a - b) ** 2).sum())
    n, groups = min(first.n, second.n), fewer_groups(first, second)
    return wald(first.value - second.value, sqrt(total), n, groups, level, bounded)


def independent_difference(first: Estimate, second: Estimate) -> PairedDifference:
    """`first` less `second` where they share nothing, at the level of their intervals, which is 95 % for the p value.

    Interval and p value are NaN where one has no interval.
    """
    from scipy.special import ndtr, ndtri

    value = first.value - second.value
    below = hypot(first.value - first.low, second.high - second.value)
    above = hypot(first.high - first.value, second.value - second.low)
    n, groups = min(first.n, second.n), fewer_groups(first, second)
    half = below if value > 0 else above
    if isnan(half) or half == 0:
        p_value = half if isnan(half) else float(value == 0)
    else:
        p_value = 2 * float(ndtr(-abs(value) / half * ndtri(0.975)))
    return PairedDifference(Estimate(value, value - below, value + above, n, groups), p_value)


def paired_over_seeds(pairs: Sequence[PairedDifference], level: float = 0.95) -> PairedDifference:
    """Join the differences of the seeds, whose intervals have `level`; p as of "no difference at some seed".

    Raises ValueError without pairs and for a level outside (0, 1).
    """
    found = over_seeds([pair.difference for pair in pairs], level)
    signs = {np.sign(pair.difference.value) for pair in pairs}
    p_value = max(pair.p_value for pair in pairs) if len(signs) == 1 else 1.0
    each = [pair.difference for pair in pairs]
    joined = Estimate(found.mean, found.low, found.high, min(one.n for one in each), fewer_groups(*each))
    return PairedDifference(joined, p_value)


def correlation(first: Scores, second: Scores) -> float:
    """The correlation of two measurements from the shares of the same units, 0 where one has none."""
    scale = sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / scale if scale > 0 else 0.0


def unseen_share(n: float, alpha: float) -> float:
    """The largest share of a population of which `n` independent draws hold nothing with probability `alpha`."""
    return 1 - float(alpha ** (1 / n))


def _same_everywhere(value: float, n: int, groups: int | None, alpha: float) -> PairedDifference:
    """The p value inverts the interval: were the true difference 0, one unit would show `value` with probability at
    most 1 / (1 + |value|)."""
    independent = n if groups is None else groups
    unseen = unseen_share(independent, alpha)
    centre = value * (1 - unseen)
    p_value = min(1.0, 2 * (1 + abs(value)) ** -independent)
    return PairedDifference(Estimate(value, centre - unseen, centre + unseen, n, groups), p_value)


def _point(value: float, n: int, groups: int | None) -> PairedDifference:
    return PairedDifference(Estimate(value, value, value, n, groups), float(value == 0))
