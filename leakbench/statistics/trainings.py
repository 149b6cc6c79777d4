"""Difference of a metric between two sets of trainings that share nothing: other seeds, or other images.

A metric of k trainings, each with an interval for its images, has two kinds of noise: that of the images, which their
intervals hold, and that from training to training. With k_1 and k_2 trainings, a common standard deviation s from
training to training on `df` degrees of freedom, and means a and b,
    a - b -+ sqrt(images^2 + (t_df s)^2 (1 / k_1 + 1 / k_2)),
where `images` is MOVER's half width (`independent_difference`) of the mean intervals: trainings of one run share their
images, so more of them do not narrow it. The p value is the largest 1 - level at which the interval holds 0.

Two seeds a run leave s two degrees of freedom, on which nothing is ever shown. So the rows of a table (attacks,
points) lend each other strength: `shrink_variances` is the moderated variance of Smyth (Statistical Applications in
Genetics and Molecular Biology 3, 2004). Variances are taken for draws from a scaled inverse chi-squared distribution,
whose scale s_0^2 and degrees of freedom d_0 are estimated by the mean and the variance of log s^2; then
    s~^2 = (d_0 s_0^2 + d s^2) / (d_0 + d)   on   d_0 + d   degrees of freedom,
and no more than the rows have in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, inf, log, sqrt

import numpy as np

from .estimate import Estimate
from .groups import fewer_groups
from .paired import PairedDifference

_FURTHEST = 600.0  # -log of a tail probability that still is a float


@dataclass(frozen=True)
class Shrunk:
    """Moderated variances, one a row, and the degrees of freedom of each."""

    variances: tuple[float, ...]
    df: float


def shrink_variances(variances: Sequence[float], df: float) -> Shrunk:
    """The variances of rows, each on `df` degrees of freedom, drawn towards what they have in common.

    Rows without variance take no part in the estimate. Raises ValueError without degrees of freedom, and for a
    variance below 0.
    """
    from scipy.special import digamma, polygamma

    raw = np.asarray(variances, dtype=np.float64)
    if df <= 0 or (raw < 0).any():
        raise ValueError(f"variances from 0 up on more than 0 degrees of freedom, got {list(variances)} on {df}")
    known = raw[raw > 0]
    if known.size < 2:
        return Shrunk(tuple(raw.tolist()), float(df))
    centred = np.log(known) - float(digamma(df / 2)) + log(df / 2)
    beyond = float(centred.var(ddof=1)) - float(polygamma(1, df / 2))
    prior = 2 * _inverse_trigamma(beyond) if beyond > 0 else inf
    if prior == inf:
        scale, weight = exp(float(centred.mean())), 1.0
    else:
        scale = exp(float(centred.mean()) + float(digamma(prior / 2)) - log(prior / 2))
        weight = prior / (prior + df)
    shrunk = weight * scale + (1 - weight) * raw
    return Shrunk(tuple(shrunk.tolist()), min(df + prior, df * known.size))


def trainings_difference(
    first: Sequence[Estimate], second: Sequence[Estimate], spread: float = 0.0, df: float = inf
) -> PairedDifference:
    """The mean of `first` less that of `second`, one estimate a training, with 95 % intervals for the images.

    `spread`: the standard deviation from training to training, on `df` degrees of freedom. Interval and p value are NaN
    where an estimate has no interval. Raises ValueError without estimates on a side.
    """
    if not first or not second:
        raise ValueError("no training on one side")
    sides = [_mean(first), _mean(second)]
    value = sides[0][1] - sides[1][1]
    below = hypot(sides[0][1] - sides[0][0], sides[1][2] - sides[1][1])
    above = hypot(sides[0][2] - sides[0][1], sides[1][1] - sides[1][0])
    between = spread * sqrt(1 / len(first) + 1 / len(second))
    each = [*first, *second]
    n, groups = min(one.n for one in each), fewer_groups(*each)
    low, high = value - _length(below, between, df, 0.025), value + _length(above, between, df, 0.025)
    p_value = _p_value(abs(value), below if value > 0 else above, between, df)
    return PairedDifference(Estimate(value, low, high, n, groups), p_value)


def _mean(estimates: Sequence[Estimate]) -> tuple[float, float, float]:
    low, value, high = (float(np.mean([getattr(one, name) for one in estimates])) for name in ("low", "value", "high"))
    return low, value, high


def _length(half: float, between: float, df: float, alpha: float) -> float:
    """Half the width of the interval that leaves `alpha` outside on a side; `half` is that of the images at 95 %."""
    from scipy.special import ndtri, stdtrit

    images = half * float(ndtri(alpha) / ndtri(0.025))
    if between == 0:
        return images
    quantile = -float(ndtri(alpha)) if df == inf else -float(stdtrit(df, alpha))
    return hypot(images, quantile * between)


def _p_value(away: float, half: float, between: float, df: float) -> float:
    """Bisects the level at which the interval begins to hold 0."""
    if np.isnan(half):
        return float("nan")
    if away == 0 or half == between == 0:
        return float(away == 0)
    narrow, wide = log(2), _FURTHEST
    for _ in range(50):
        middle = (narrow + wide) / 2
        narrow, wide = (middle, wide) if _length(half, between, df, exp(-middle)) < away else (narrow, middle)
    return min(1.0, 2 * exp(-narrow))


def _inverse_trigamma(value: float) -> float:
    """The x at which the trigamma function is `value`, above 0: Newton's steps on 1 / trigamma, which is nearly
    straight (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(50):
        found = float(polygamma(1, x))
        step = found * (1 - found / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
