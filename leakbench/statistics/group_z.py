"""One-sided z-test of "members score higher on average", as in CPSample's membership table (2409.07025).

z = (mean of members - mean of nonmembers) / sqrt(s_m^2 / m + s_n^2 / n), p = 1 - Phi(z). It speaks of the group and of
no image: with enough images any difference of means is significant, and an attack that tells single images apart
without moving the mean is not seen. Choices of ours: the sample variances of both sides (the paper prints a statistic
and a p value that fit p = 1 - Phi(statistic), and no formula); where neither side varies, z is 0 for equal means, else
infinite. With groups of images (people), the variance of a side's mean is that of its sums over groups,
    k / ((k - 1) m^2) sum_i (sum of group i - m_i mean)^2,
which with one image a group is s_m^2 / m.
"""

from __future__ import annotations

from math import copysign, erfc, inf, sqrt

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked
from .groups import Groups, count_groups, number_groups


def group_z(member: ArrayLike, nonmember: ArrayLike, groups: Groups | None = None) -> tuple[float, float]:
    """z and its one-sided p value, of scores (m,) and (n,), two or more of each."""
    a, b = checked(member, 2), checked(nonmember, 2)
    unit = max(abs(a).max(), abs(b).max()) or 1.0  # z does not depend on it; squares of the rest do not overflow
    a, b = a / unit, b / unit
    if groups is None:
        variance = float(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    else:
        variance = _variance_of_mean(a, groups[0]) + _variance_of_mean(b, groups[1])
    apart, error = float(a.mean() - b.mean()), sqrt(variance)
    z = apart / error if error > 0 else (copysign(inf, apart) if apart else 0.0)
    return z, erfc(z / sqrt(2)) / 2


def _variance_of_mean(scores: Scores, groups: ArrayLike) -> float:
    codes = number_groups(groups, scores.size)
    if count_groups(groups, scores.size) == scores.size:
        return float(scores.var(ddof=1) / len(scores))
    sums = np.bincount(codes, scores - scores.mean())
    if sums.size == 1:  # one person says nothing of how persons differ
        return inf
    return float(sums.size / (sums.size - 1) * (sums**2).sum() / scores.size**2)
