"""TPR at a fixed FPR, with an interval that knows that the threshold was estimated too.

What is estimated is the population's TPR at the population threshold of FPR = target. Two things are uncertain: where
that threshold lies (from n nonmembers), and the share of members above it (from m members). Choices of ours:
- Each gets its own 95 % interval, and MOVER (Zou and Donner 2008) joins them. With p the TPR on the exact ROC,
      low = p - sqrt((p - l)^2 + (p - s)^2),   high = p + sqrt((h - p)^2 + (x - p)^2),
  where [l, h] is Clopper-Pearson at the realised threshold, and s and x are the TPRs at the ends of the
  distribution-free order-statistic interval of the threshold: of n nonmembers K ~ Binomial(n, target) lie above the
  true one, so with the 2.5 and 97.5 % points a <= K <= b it lies between the (b+1)-th and the a-th largest.
  Thresholds here are strict ("above the j-th largest nonmember"), which keeps blocks of ties on the safe side.
- MOVER takes the ROC for straight between s and x. Where it has a kink just at the target, the error of s or x itself
  is left: the interval also holds 0.4 of their Clopper-Pearson distances. Without that, a vertical jump of the ROC at
  the target is covered in 70 % of cases, with it in 86 %, at 2 to 6 % more width; more would cover smooth ROCs above
  99 %.
- With groups, the two intervals are those of the effective numbers of members and of nonmembers at the threshold (see
  `groups`), and ranks of nonmembers are scaled by theirs. A bootstrap that draws groups covers .84 to .97 where this
  covers .93 to 1 (20 to 100 groups of 4 to 20 images, correlations of 0 to .9 within groups, FPR .1).

Coverage of a nominal 95 %, simulated at m = n with normal scores, members shifted by 0, .5, 1, 2, 3 standard
deviations; in brackets that of Clopper-Pearson alone (`python tests/leakbench/statistics/test_tpr.py`):
         n target      0             .5            1             2             3
       300 0.1    0.976 (0.86)  0.969 (0.79)  0.973 (0.76)  0.974 (0.79)  0.979 (0.92)
       300 0.01 * 1.000 (0.89)  0.995 (0.74)  0.994 (0.63)  0.993 (0.49)  0.995 (0.52)
       300 0.001* 1.000 (0.87)  1.000 (0.66)  0.999 (0.48)  0.998 (0.25)  0.997 (0.21)
      1000 0.1    0.962 (0.84)  0.967 (0.79)  0.963 (0.75)  0.963 (0.79)  0.965 (0.90)
      1000 0.01   0.986 (0.88)  0.985 (0.74)  0.985 (0.61)  0.986 (0.48)  0.985 (0.50)
      1000 0.001* 1.000 (0.82)  0.996 (0.61)  0.992 (0.44)  0.988 (0.24)  0.988 (0.20)
     10000 0.1    0.954 (0.85)  0.954 (0.78)  0.955 (0.76)  0.946 (0.78)  0.950 (0.87)
     10000 0.01   0.969 (0.86)  0.971 (0.71)  0.969 (0.61)  0.973 (0.48)  0.973 (0.48)
     10000 0.001  0.989 (0.89)  0.983 (0.66)  0.987 (0.47)  0.984 (0.25)  0.982 (0.21)
*: fewer than ten false alarms are expected (`few_negatives`), and the interval is conservative. So it is where fewer
than about ten members are expected above the threshold, or below it, as Clopper-Pearson itself.
4,000 repetitions, at n = 10000 1,000; 1,500 to 400 of them are repeated by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, hypot, inf

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked, tail
from .estimate import Estimate
from .groups import Groups, count_independent, effective_number
from .proportions import clopper_pearson, fractional_clopper_pearson, proportion
from .roc import roc_curve

# The share of the Clopper-Pearson distance at the ends of the threshold's interval that is always held: see above.
_KINK = 0.4


@dataclass(frozen=True)
class TprAtFpr:
    """The largest TPR whose FPR does not exceed a target, and the rule `score >= threshold` that has it.

    `threshold` is inf where no score may be accepted. `few_negatives` warns that the target is below 10 / n.
    """

    estimate: Estimate
    realised_fpr: float
    threshold: float
    few_negatives: bool


def few_negatives(target: float, nonmembers: int) -> bool:
    """Tell whether fewer than ten of `nonmembers` false alarms are expected at `target`: such a TPR ranks nothing."""
    return target < 10 / nonmembers


def tpr_at_fpr(
    member: ArrayLike, nonmember: ArrayLike, target: float, level: float = 0.95, groups: Groups | None = None
) -> TprAtFpr:
    """TPR at `FPR <= target` from scores of shapes (m,) and (n,); the estimate's `n` is m.

    `groups`, two arrays of these shapes, say whose images they are: `few_negatives` then counts groups.

    Raises ValueError where scores are empty or not finite, and unless `target` and `level` lie in (0, 1).
    """
    members, nonmembers = checked(member), checked(nonmember)
    if not 0 < target < 1:
        raise ValueError(f"the target lies strictly between 0 and 1, got {target}")
    point = roc_curve(members, nonmembers).at_fpr(target)
    ours, theirs = (None, None) if groups is None else groups
    accepted = members >= point.threshold
    trials = effective_number(accepted, ours)
    fewest, most = _ranks(nonmembers, point.threshold, target, level, theirs)
    here = tpr_at_threshold(members, point.threshold, level, ours)
    strict, lax = (_tpr_above(members, nonmembers, rank, trials, level) for rank in (fewest, most + 1))
    estimate = Estimate(here.value, *joined(here, strict, lax), here.n, here.groups)
    few = few_negatives(target, count_independent(theirs, nonmembers.size))
    return TprAtFpr(estimate, point.fpr, point.threshold, few)


def tpr_at_threshold(
    member: ArrayLike, threshold: float, level: float = 0.95, groups: ArrayLike | None = None
) -> Estimate:
    """The share of `member` (m,) at or above a `threshold` frozen on other images; `groups` (m,) as in `proportion`.

    Raises ValueError where scores are empty or not finite, for a NaN threshold, and for a level outside (0, 1).
    """
    members = checked(member)
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN")
    return proportion(members >= threshold, level, groups)


def threshold_ends(
    nonmember: Scores, threshold: float, target: float, groups: ArrayLike | None = None
) -> tuple[float, float]:
    """The strict and the lax end of the 95 % interval of a `threshold` of FPR `target`; "above" is what passes."""
    fewest, most = _ranks(nonmember, threshold, target, 0.95, groups)
    return _bar(nonmember, fewest), _bar(nonmember, most + 1)


def _ranks(
    nonmembers: Scores, threshold: float, target: float, level: float, groups: ArrayLike | None
) -> tuple[int, int]:
    """Number of nonmembers above the population's threshold, at the least and at the most."""
    if groups is None:
        return _false_alarms(nonmembers.size, target, level)
    trials = effective_number(nonmembers >= threshold, groups)
    fewest, most = _false_alarms(max(1, int(trials)), target, level)
    scale = nonmembers.size / max(1, int(trials))
    return floor(fewest * scale), ceil(most * scale)


@lru_cache(maxsize=64)
def _false_alarms(n: int, target: float, level: float) -> tuple[int, int]:
    """The lower and upper quantile of Binomial(n, target) that leave at most half of 1 - level outside on each side."""
    from scipy.special import bdtr

    cumulative = bdtr(np.arange(n + 1), n, target)
    lower, upper = np.searchsorted(cumulative, [tail(level), 1 - tail(level)])
    return int(lower), int(upper)


def joined(here: Estimate, strict: Estimate, lax: Estimate) -> tuple[float, float]:
    """The interval from the TPR at the threshold and at the strict and the lax end of the threshold's interval."""
    low = here.value - hypot(here.value - here.low, here.value - strict.value)
    high = here.value + hypot(here.high - here.value, lax.value - here.value)
    # `here.low` and `here.high` only guard against the rounding of hypot.
    low = min(low, here.low, strict.value - _KINK * (strict.value - strict.low))
    high = max(high, here.high, lax.value + _KINK * (lax.high - lax.value))
    return max(0.0, low), min(1.0, high)


def _tpr_above(members: Scores, nonmembers: Scores, rank: int, trials: float, level: float) -> Estimate:
    """The share of members above the `rank`-th largest nonmember, as of so many trials; none is above the 0-th, all
    above the (n+1)-th."""
    return _share(int(np.count_nonzero(members > _bar(nonmembers, rank))), members.size, trials, level)


def _bar(nonmembers: Scores, rank: int) -> float:
    """The `rank`-th largest nonmember; infinity for the 0-th, minus infinity for the (n+1)-th."""
    if rank == 0:
        return inf
    return float(np.partition(nonmembers, -rank)[-rank]) if rank <= nonmembers.size else -inf


def _share(count: int, images: int, trials: float, level: float) -> Estimate:
    if trials == images:
        return clopper_pearson(count, images, level)
    return fractional_clopper_pearson(count / images, trials, level)
