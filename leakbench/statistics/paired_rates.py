"""Differences of two rates on the same images or sample seeds: TPRs at a fixed FPR, and copy rates.

`tpr_pair`: both attacks (or releases) scored the same images. A TPR at FPR f deviates by the share of members above the
threshold, and by how far the threshold was misplaced by the nonmembers (Hsieh and Turnbull, Annals of Statistics 24,
1996; Pepe 2003, 5.2.5):
    share of member i: (1[s_i >= t] - TPR) / m,   of nonmember j: -slope (1[s_j >= t] - f) / n,   slope = dTPR/dFPR.
Choices of ours: the slope is that between the ends of the distribution-free interval of the threshold (`tpr_at_fpr`),
no density is fitted; the rest is `paired`'s. A rate at which fewer than ten false alarms are expected is no more to be
compared than it is to be ranked. Simulated size at 5 %, n = 300 and 1,000, f = .1 and .01, correlations from 0 to .9
within pairs: .017 to .06 of 300; a bootstrap of images (200 resamples) has .02 to .06 and takes fifty times as long,
MOVER of the two intervals .003 to .033.

`proportion_pair`: true or false a sample, of the same sample seeds. With b samples that are true on the first side
alone and c on the second alone of n,
    p value: the exact McNemar test (two-sided binomial, b of b + c at 1/2; Psychometrika 12, 1947),
    interval: Newcombe's method 10 (Statistics in Medicine 17, 1998): MOVER with the correlation phi of the two columns.
Choice of ours: its margins are Clopper-Pearson's, as everywhere here. The p value is exact and so at most 5 % wrong at
5 %; next to it the interval may hold 0 where p is just below, or the other way round, and what decides is p.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked
from .estimate import Estimate
from .groups import Groups, Sides, number_sides
from .paired import PairedDifference, correlation, paired_by_shares
from .proportions import clopper_pearson
from .tpr import threshold_ends, tpr_at_fpr


def tpr_pair(
    member_a: ArrayLike,
    nonmember_a: ArrayLike,
    member_b: ArrayLike,
    nonmember_b: ArrayLike,
    target: float,
    level: float = 0.95,
    groups: Groups | None = None,
) -> PairedDifference:
    """TPR at `FPR <= target` of `a` less that of `b`: entry i of `member_a` and of `member_b` is the same image.

    Scores have shapes (m,) and (n,); `groups`, two arrays of these shapes, say whose images they are. Raises ValueError
    where the sides differ in number, scores are empty or not finite, and unless target and level lie in (0, 1).
    """
    first, second = (checked(member_a), checked(nonmember_a)), (checked(member_b), checked(nonmember_b))
    if [side.size for side in first] != [side.size for side in second]:
        raise ValueError("both attacks must have scored the same images")
    sides = number_sides(groups, first[0].size, first[1].size)
    one, other = (tpr_at_fpr(*side, target, level, groups).estimate for side in (first, second))
    ours, theirs = ([tpr_influence(*side, target, sides)] for side in (first, second))
    return paired_by_shares(one, other, ours, theirs, level, bounded=True)


def tpr_influence(member: Scores, nonmember: Scores, target: float, sides: Sides | None = None) -> Scores:
    """The share that each image has in the deviation of the TPR at `target`, members first, (m + n,).

    With `sides`, that of each of `sides.count` groups, (count,).
    """
    threshold = tpr_at_fpr(member, nonmember, target).threshold
    above, alarms = member >= threshold, nonmember >= threshold
    strict, lax = threshold_ends(nonmember, threshold, target, None if sides is None else sides.nonmember)
    apart = float((nonmember > lax).mean() - (nonmember > strict).mean())
    slope = float((member > lax).mean() - (member > strict).mean()) / apart if apart > 0 else 0.0
    ours, theirs = (above - above.mean()) / member.size, -slope * (alarms - alarms.mean()) / nonmember.size
    if sides is None:
        return np.concatenate([ours, theirs])
    whole = np.bincount(sides.member, ours, sides.count) + np.bincount(sides.nonmember, theirs, sides.count)
    return np.asarray(whole, dtype=np.float64)


def proportion_pair(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> PairedDifference:
    """The share of `first` (n,) less that of `second` (n,), true or false a sample, entry i from the same sample seed.

    Raises ValueError where they differ in number or are empty, and for a level outside (0, 1).
    """
    from scipy.special import bdtr

    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"{a.shape} and {b.shape} samples: pairs are of the same sample seeds")
    one, other = (clopper_pearson(int(np.count_nonzero(side)), side.size, level) for side in (a, b))
    related = correlation(a - a.mean(), b - b.mean())
    alone = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    p_value = min(1.0, 2 * float(bdtr(min(alone), sum(alone), 0.5)))
    return PairedDifference(_mover(one, other, related), p_value)


def _mover(one: Estimate, other: Estimate, related: float) -> Estimate:
    value = one.value - other.value
    low = value - _length(one.value - one.low, other.high - other.value, related)
    high = value + _length(one.high - one.value, other.value - other.low, related)
    return Estimate(value, max(low, -1.0), min(high, 1.0), one.n)


def _length(ours: float, theirs: float, related: float) -> float:
    return sqrt(max(0.0, ours**2 + theirs**2 - 2 * related * ours * theirs))
