"""Epsilon from the true- and false-positive rates of an attack with a frozen threshold, over independent trials.

Clopper-Pearson (Jagielski et al. 2020, 2006.07709; Nasr et al. 2021, 2101.04535): privacy demands
    TPR <= e^eps FPR + delta   and its mirror   TNR <= e^eps FNR + delta,
so eps >= ln((TPR_lo - delta) / FPR_hi) and eps >= ln((TNR_lo - delta) / FNR_hi); the larger counts.

Gaussian privacy (Nasr et al. 2023, 2302.07956): mu = Phi^-1(1 - FPR_hi) - Phi^-1(FNR_hi), and epsilon solves
    delta = Phi(-eps / mu + mu / 2) - e^eps Phi(-eps / mu - mu / 2)
(Dong, Roth and Su 2019, 1905.02383, corollary 2.13). It holds only if the mechanism's trade-off is a Gaussian's, or
close to it, as for full-batch DP-SGD whose every step is seen; then it is far tighter.

The maximum of two bounds needs a correction. Each side's rate is bounded at half of 1 - level; since TNR_lo = 1 -
FPR_hi and FNR_hi = 1 - TPR_lo, these two bounds are all that the mirror needs, and the maximum keeps the level (the
tests sum over both binomials). What is not corrected for is a threshold that was chosen on the same images: freeze it
beforehand. A trial is a coin thrown for the whole run: images of one run are trials only if they do not influence one
another; with one run, see `epsilon_one_run`.
"""

from __future__ import annotations

from math import exp, log

from .epsilon_bound import EpsilonBound, check_delta, largest
from .proportions import clopper_pearson


def epsilon_clopper_pearson(
    true_positives: int, members: int, false_positives: int, nonmembers: int, delta: float, level: float = 0.95
) -> EpsilonBound:
    """The bound from counts at a frozen threshold, and its ceiling: all members accepted and no nonmember.

    Raises ValueError where a count exceeds its trials, unless `delta` is in [0, 1) and `level` in (0, 1).
    """
    check_delta(delta)
    value = _direct(*_error_bounds(true_positives, members, false_positives, nonmembers, level), delta)
    ceiling = _direct(*_error_bounds(members, members, 0, nonmembers, level), delta)
    return EpsilonBound(value, ceiling, level, "independent trials, and a threshold fixed beforehand")


def epsilon_gaussian(
    true_positives: int, members: int, false_positives: int, nonmembers: int, delta: float, level: float = 0.95
) -> EpsilonBound:
    """The bound if the mechanism is Gaussian, from counts at a frozen threshold, and its ceiling.

    Raises ValueError as `epsilon_clopper_pearson`, and for a `delta` of 0, at which no Gaussian has an epsilon.
    """
    value, ceiling = (
        gaussian_epsilon(_separation(*_error_bounds(accepted, members, alarms, nonmembers, level)), delta)
        for accepted, alarms in ((true_positives, false_positives), (members, 0))
    )
    return EpsilonBound(value, ceiling, level, "a Gaussian mechanism, and a threshold fixed beforehand")


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon at `delta` in (0, 1) of a mechanism that is exactly `mu`-Gaussian private; 0 where mu shows none."""
    from scipy.special import log_ndtr, ndtr

    check_delta(delta)
    if delta == 0:
        raise ValueError("at delta 0 a Gaussian mechanism has no epsilon: give a delta above 0")
    if mu <= 0:
        return 0.0

    def refuted(eps: float) -> bool:
        lost = exp(eps + float(log_ndtr(-eps / mu - mu / 2)))
        return float(ndtr(-eps / mu + mu / 2)) - lost > delta

    return largest(refuted)


def _error_bounds(accepted: int, members: int, alarms: int, nonmembers: int, level: float) -> tuple[float, float]:
    """FPR_hi and FNR_hi, which hold together with confidence `level`."""
    # A two-sided interval leaves on each side just the half of 1 - level that each rate may have.
    fpr = clopper_pearson(alarms, nonmembers, level).high
    fnr = clopper_pearson(members - accepted, members, level).high
    return fpr, fnr


def _direct(fpr: float, fnr: float, delta: float) -> float:
    kept = ((1 - fnr - delta) / fpr, (1 - fpr - delta) / fnr)
    return max(0.0, log(max(kept))) if max(kept) > 0 else 0.0


def _separation(fpr: float, fnr: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri(fpr) + ndtri(fnr))
