"""AUC with the interval of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), and the difference of two AUCs.

With the placements V_i = P(a nonmember scores below member i) + half of P(equal), and W_j likewise for nonmember j,
    AUC = mean(V),   variance = var(V) / m + var(W) / n;
two attacks on the same images are compared by the differences of their placements. Placements come from sorting, as
in Sun and Xu (IEEE SPL 21, 2014): n V_i is the midrank of member i among all less its midrank among members.

With groups (people, patients), Obuchowski's variance (Biometrics 53, 1997) in its place. With V_i and W_i summed over
the m_i members and n_i nonmembers of group i, I groups in all, I_V with a member and I_W with a nonmember,
    variance = S_V / m + S_W / n + 2 S_VW / (m n),   S_V = I_V / ((I_V - 1) m) sum_i (V_i - m_i AUC)^2,
    S_W likewise,   S_VW = I / (I - 1) sum_i (V_i - m_i AUC) (W_i - n_i AUC),
the last over all groups and 0 where none is on both sides. With one image a group it is DeLong's.

Choices of ours:
- The interval is taken on the logit scale: on the plain scale it leaves [0, 1] and covers too little near 1.
- It is widened to hold [a (1 - q), a + (1 - a) q], where q = 1 - (alpha / 2)^(1 / k), k = min(m, n). At AUC a = 0 and
  1 DeLong's width is zero, and next to nothing close by, because the sample holds none of the rare images that would
  count: of k disjoint pairs none may belong to a kind that makes up a share q of all. At AUC 1 this is the exact
  binomial bound. At AUCs from .1 to .9 DeLong's is the wider from about 100 images a side, and nothing changes.
- With groups, k is the effective number of images of the side with fewer: m over the ratio of the clustered variance of
  its placements to that of independent ones, within [groups, m]. Where fewer than five groups of a side hold an image
  that is on the wrong side of some other, that ratio says little, and k counts groups: none of k groups may belong to
  that kind. (With k groups throughout, ten groups of ten independent images were covered in 100 of 100 cases.)
- The difference of two AUCs is taken on the plain scale, and falls back to the same q only where its variance is zero
  (the same ranking twice, say): a floor everywhere would hide what pairing gains.

Coverage of a nominal 95 % at m = n = 30, 100, 300, 1000 and AUC .5, .7, .9, .97, .99, .999, .9999, 4,000 repetitions
(`python tests/leakbench/statistics/test_auc.py`): .947 to .982 for normal scores, .931 to .993 where all errors come
from a few rare images; of the difference of two, at n = 100 and 300 and AUCs from .5 to .99, .941 to .986. With groups:
`python tests/leakbench/statistics/test_groups.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked, tail
from .estimate import Estimate
from .groups import TELLING, Codes, Groups, Sides, number_sides
from .paired import PairedDifference, unseen_share, wald


def auc(member: ArrayLike, nonmember: ArrayLike, level: float = 0.95, groups: Groups | None = None) -> Estimate:
    """P(member scores above nonmember) + half of P(equal), in [0, 1], with its interval; `n` is the smaller side.

    Scores have shapes (m,) and (n,); `groups`, two arrays of these shapes, say whose images they are. Raises
    ValueError with fewer than two images of either, where a score is not finite, and for a level outside
    (0, 1).
    """
    found = measured(member, nonmember, groups)
    return Estimate(found.value, *found.interval(tail(level)), found.n, found.groups)


def auc_p_value(member: ArrayLike, nonmember: ArrayLike, groups: Groups | None = None) -> float:
    """The two-sided p value of "AUC 1/2": the largest 1 - level at which the interval of `auc` still holds 1/2.

    Raises ValueError as `auc` does.
    """
    from scipy.special import ndtr

    found = measured(member, nonmember, groups)
    further = max(found.value, 1 - found.value)  # both parts of the interval are mirror images of each other
    unseen = min(1.0, 2 * (2 * further) ** -found.independent)
    if found.error == 0 or further == 1:
        return unseen
    scale = found.error / (found.value * (1 - found.value))
    return max(unseen, 2 * float(ndtr(-log(further / (1 - further)) / scale)))


@dataclass(frozen=True)
class Measured:
    """An AUC with its standard error, and the smaller side's numbers of images and, if any, of groups. independent: the
    number of independent images that the side with fewer of them holds in effect."""

    value: float
    error: float
    n: int
    independent: float
    groups: int | None = None

    def interval(self, alpha: float) -> tuple[float, float]:
        """The interval that leaves `alpha` outside on each side."""
        low, high = _logit_interval(self.value, self.error, alpha)
        unseen = unseen_share(self.independent, alpha)
        return min(low, self.value * (1 - unseen)), max(high, self.value + (1 - self.value) * unseen)


def measured(member: ArrayLike, nonmember: ArrayLike, groups: Groups | None = None) -> Measured:
    """AUC, standard error and numbers behind `auc`, for the files beside this one. Raises ValueError as `auc` does."""
    v, w = _placements(checked(member, 2), checked(nonmember, 2))
    return _measured(v, w, number_sides(groups, v.size, w.size))


def influence(member: ArrayLike, nonmember: ArrayLike, sides: Sides) -> Scores:
    """The share that each of `sides.count` groups has in the AUC's deviation from its expectation, shape (count,). The
    sum of the products of two AUCs' shares is the covariance of the two."""
    v, w = _placements(checked(member, 2), checked(nonmember, 2))
    return _deviations(v, sides.member, sides.count) / v.size + _deviations(w, sides.nonmember, sides.count) / w.size


def _measured(v: Scores, w: Scores, sides: Sides | None) -> Measured:
    value = float(v.mean())
    if sides is None:
        return Measured(value, _standard_error(v, w), min(v.size, w.size), min(v.size, w.size))
    fewest = min(np.unique(sides.member).size, np.unique(sides.nonmember).size)
    independent = min(_independent(v, sides.member, value), _independent(w, sides.nonmember, value))
    return Measured(value, _clustered_error(v, w, sides), min(v.size, w.size), independent, int(fewest))


def delong_pair(
    member_a: ArrayLike,
    nonmember_a: ArrayLike,
    member_b: ArrayLike,
    nonmember_b: ArrayLike,
    level: float = 0.95,
    groups: Groups | None = None,
) -> PairedDifference:
    """Compares attacks `a` and `b` on the same images: entry i of `member_a` and of `member_b` is the same image.

    `groups` as in `auc`. Raises ValueError as it does, and where the two attacks do not have the same number of images.
    """
    v_a, w_a = _placements(checked(member_a, 2), checked(nonmember_a, 2))
    v_b, w_b = _placements(checked(member_b, 2), checked(nonmember_b, 2))
    if v_a.shape != v_b.shape or w_a.shape != w_b.shape:
        raise ValueError("both attacks must have scored the same images")
    found = _measured(v_a - v_b, w_a - w_b, number_sides(groups, v_a.size, w_a.size))
    return wald(found.value, found.error, found.n, found.groups, level)


def _placements(member: Scores, nonmember: Scores) -> tuple[Scores, Scores]:
    """For each member the share of nonmembers below, for each nonmember the share of members above; ties are half."""
    return _share_below(member, nonmember), 1 - _share_below(nonmember, member)


def _share_below(scores: Scores, others: Scores) -> Scores:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")
    return np.asarray(below / (2 * others.size), dtype=np.float64)


def _standard_error(v: Scores, w: Scores) -> float:
    # A spread of rounding errors only is none: constant placements must give exactly zero.
    spread = [0.0 if np.ptp(x) < 1e-12 else float(x.var(ddof=1)) / x.size for x in (v, w)]
    return sqrt(sum(spread))


def _clustered_error(v: Scores, w: Scores, sides: Sides) -> float:
    if sides.alone:
        return _standard_error(v, w)
    total = _clustered_variance(v, sides.member) + _clustered_variance(w, sides.nonmember)
    if total == inf:
        return inf
    apart = _deviations(v, sides.member, sides.count), _deviations(w, sides.nonmember, sides.count)
    both = sides.count / (sides.count - 1) * float((apart[0] * apart[1]).sum()) / (v.size * w.size)
    spread = max(0.0, total + 2 * both)
    return 0.0 if spread < 1e-24 else sqrt(spread)  # rounding errors are no spread


def _independent(placements: Scores, codes: Codes, value: float) -> float:
    """The number of independent images that tell as much as those of a side, by their placements."""
    groups, images = np.unique(codes).size, placements.size
    if groups == images:
        return float(images)
    wrong = placements < 1 if value >= 0.5 else placements > 0
    clustered = _clustered_variance(placements, codes)
    if np.unique(codes[wrong]).size < TELLING or not 0 < clustered < inf:
        return float(groups)
    return float(np.clip(placements.var(ddof=1) / clustered, groups, images))


def _clustered_variance(placements: Scores, codes: Codes) -> float:
    """Of the mean of placements; infinite for one group."""
    groups = np.unique(codes).size
    if groups == 1:  # one person says nothing of how persons differ: the interval is all of [0, 1]
        return inf
    deviations = _deviations(placements, codes, int(codes.max()) + 1)
    return groups / (groups - 1) * float((deviations**2).sum()) / placements.size**2


def _deviations(placements: Scores, codes: Codes, count: int) -> Scores:
    """By group, the sum of its placements less as many times their mean; 0 where it has none."""
    return np.asarray(np.bincount(codes, placements - placements.mean(), minlength=count), dtype=np.float64)


def _logit_interval(value: float, error: float, alpha: float) -> tuple[float, float]:
    from scipy.special import ndtri

    if error == 0 or not 0 < value < 1:
        return value, value
    centre, half = log(value / (1 - value)), -float(ndtri(alpha)) * error / (value * (1 - value))
    return _expit(centre - half), _expit(centre + half)


def _expit(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))
