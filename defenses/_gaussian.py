"""Exact epsilon of Gaussian mechanisms on the whole data: no subsampling, so no numerical composition.

T answers, each with noise N(0, sigma^2) on something that neighbours change by s in the 2-norm, are together as private
as one answer with mu = s sqrt(T) / sigma (Dong, Roth and Su 2019, 1905.02383, cor. 3.3: Gaussian differential privacy),
and spend exactly (Balle and Wang 2018, 1805.06530, theorem 8)

    delta(epsilon) = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu).

Both are equalities. tests/defenses/test_gaussian.py holds them to Google's dp-accounting and to published values.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

_MOST = 1e4  # epsilon and mu that are looked for lie below


def gaussian_delta(epsilon: float, mu: float) -> float:
    """delta at which a Gaussian mechanism of this mu is (epsilon, delta)-private."""
    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """epsilon of a Gaussian mechanism of this mu at delta; 0 where delta alone pays for it."""
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    most = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # of the looser bound by tails of the privacy loss
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, most, xtol=1e-12))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The largest mu that keeps epsilon at delta."""

    def over(log_mu: float) -> float:
        return gaussian_delta(epsilon, math.exp(log_mu)) - delta

    return math.exp(brentq(over, math.log(1e-6), math.log(math.sqrt(2 * epsilon) + 10), xtol=1e-12))
