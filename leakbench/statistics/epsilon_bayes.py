"""The posterior of epsilon: Zanella-Beguelin et al., ICML 2023 (2206.05199).

FPR and FNR of an attack with a frozen threshold have independent Beta posteriors from Jeffreys' prior,
    FPR ~ Beta(FP + 1/2, TN + 1/2),   FNR ~ Beta(FN + 1/2, TP + 1/2),
and epsilon is the smallest for which (FPR, FNR) lies in the region that (eps, delta)-privacy allows,
    R(eps, delta) = {(x, y): lo(x) <= y <= 1 - lo(1 - x)},
    lo(x) = max(0, 1 - delta - e^eps x, e^-eps (1 - delta - x)),
so that P[epsilon <= eps] = P[(FPR, FNR) in R(eps, delta)]. The bound is the (1 - level) quantile: the posterior puts
`level` on a larger epsilon.

It is a credible bound, not a confidence bound: it says what to believe under that prior, and promises no rate of error
over repetitions. It is usually the higher for it. R has two sides, so an attack that orders the wrong way round shows
a loss of privacy here as well.

Choices of ours: the probability is an integral over FPR, for which the quantiles of FPR at the midpoints of 2,048 equal
slices of [0, 1] stand, so it is the same at each call; it differs from adaptive quadrature by less than 1e-5 in
the tests. The bound is one-sided at `level`, where the paper gives two-sided intervals.
"""

from __future__ import annotations

from math import exp

import numpy as np

from ._scores import Scores, tail
from .epsilon_bound import EpsilonBound, check_delta, largest

_SLICES = 2048


def epsilon_bayes(
    true_positives: int, members: int, false_positives: int, nonmembers: int, delta: float, level: float = 0.95
) -> EpsilonBound:
    """The credible bound from counts at a frozen threshold, and its ceiling: all members accepted and no nonmember.

    Raises ValueError where a count exceeds its trials, unless `delta` is in [0, 1) and `level` in (0, 1).
    """
    if not (0 <= true_positives <= members and 0 <= false_positives <= nonmembers and members and nonmembers):
        raise ValueError(
            f"{true_positives} of {members} members and {false_positives} of {nonmembers} nonmembers are no counts"
        )
    check_delta(delta)
    value, ceiling = (
        _quantile(accepted, members, alarms, nonmembers, delta, 2 * tail(level))
        for accepted, alarms in ((true_positives, false_positives), (members, 0))
    )
    return EpsilonBound(value, ceiling, level, "Jeffreys' prior (credible, not confidence), and independent trials")


def _quantile(tp: int, members: int, fp: int, nonmembers: int, delta: float, probability: float) -> float:
    """The epsilon below which the posterior puts `probability`."""
    from scipy.special import betaincinv

    fpr = betaincinv(fp + 0.5, nonmembers - fp + 0.5, (np.arange(_SLICES) + 0.5) / _SLICES)
    return largest(lambda eps: _posterior(eps, delta, fpr, members - tp, tp) < probability)


def _posterior(eps: float, delta: float, fpr: Scores, fn: int, tp: int) -> float:
    """P[epsilon <= eps]: the mean, over quantiles of FPR, of the probability that FNR lies within R there."""
    from scipy.special import betainc

    least, most = _boundary(fpr, eps, delta), 1 - _boundary(1 - fpr, eps, delta)
    inside = betainc(fn + 0.5, tp + 0.5, most) - betainc(fn + 0.5, tp + 0.5, least)
    return float(inside.mean())


def _boundary(x: Scores, eps: float, delta: float) -> Scores:
    """lo(x): the least y that (eps, delta)-privacy allows beside x."""
    return np.maximum(0.0, np.maximum(1 - delta - exp(eps) * x, exp(-eps) * (1 - delta - x)))
