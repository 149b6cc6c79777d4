"""Epsilon from a single training run under f-DP: Mahloujifar, Melis and Chaudhuri, ICML 2025 (2410.22235).

The setting is that of `epsilon_one_run`: m canaries, each included by a fair coin of its own; c' coins are guessed and
c guesses are right. The claim is a trade-off curve f, not one (eps, delta). With p_i = P[i guesses are right] and any
set T of counts,

    sum_{i in T} (i / m) p_i  <=  fbar( sum_{i in T} ((c' - i + 1) / m) p_{i-1} ),   fbar(x) = 1 - f(x),

from which a recursion over i = c-1, ..., 0 (`_refutes`) finds whether c right guesses have a probability below 1 -
level under the claim. For f symmetric, the inverse of fbar is y -> f(1 - y).

The bound comes from a family of curves that grow less private with a strength u: the largest u that is refuted, told
as its epsilon at a delta. So it rests on more than the guesses: that the mechanism's curve is one of the family. Under
the curve of a bare (eps, delta) claim the recursion gives no more than `epsilon_one_run` does; all that it gives more
is the shape that is assumed. Two families: those of DP-SGD (its own sampling rate and steps, and all noise divided by
u: of the claim itself u is 1), and the Gaussian mechanisms (mu = u), which are what DP-SGD comes near at many steps.

Simulated, 20,000 trainings of DP-SGD with 300 ideal canaries, of which each step's noisy sum is seen, 150 guesses: a
right claim was exceeded in .0000 at epsilon 10 and .0001 at epsilon 1 of the suite `dp`, .0000 of ten steps at rate .5
(`python tests/leakbench/statistics/test_epsilon_f_dp.py`). So it holds, and is far from tight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from ._scores import tail
from .epsilon_bound import EpsilonBound, largest
from .epsilon_rates import gaussian_epsilon
from .noisy_steps import History, central_mu, steps_curve, steps_epsilon

_CLOSE = 1e-4  # of the strength that is looked for
_LEAST_NOISE, _MOST_MU = 0.25, 20.0  # of the curves of steps

Curve = Callable[[float], float]


class CurveFamily(Protocol):
    """Trade-off curves by strength u >= 0: of u = 0, nothing is lost."""

    @property
    def assumes(self) -> str:
        """The family, in words."""
        ...

    @property
    def most(self) -> float:
        """The largest strength that is looked at."""
        ...

    def curve(self, strength: float) -> Curve:
        """f at a strength above 0."""
        ...

    def epsilon(self, strength: float) -> float:
        """Epsilon at a strength, at the family's delta."""
        ...


@dataclass(frozen=True)
class GaussianCurves:
    """Gaussian mechanisms, mu = u; `delta` in (0, 1) is that of the epsilon told."""

    delta: float
    assumes: str = "a Gaussian mechanism"
    most: float = inf

    def curve(self, strength: float) -> Curve:
        """f(a) = Phi(Phi^-1(1 - a) - mu)."""
        from scipy.special import ndtr, ndtri

        return lambda alpha: float(ndtr(-ndtri(alpha) - strength))

    def epsilon(self, strength: float) -> float:
        """By the analytic Gaussian mechanism."""
        return gaussian_epsilon(strength, self.delta)


@dataclass(frozen=True)
class StepCurves:
    """DP-SGD with a history's rates and steps, its noise multipliers divided by u; `delta` in (0, 1).

    group_size: of canaries that are groups of images with one coin, which are drawn each by itself: their number.
    """

    history: History
    delta: float
    group_size: int = 1
    assumes: str = "the trade-off curve of DP-SGD with the stated sampling rates and steps"

    @property
    def most(self) -> float:
        """Where epsilon is in the tens at least: few steps may never reach an image, and no lack of noise then
        explains many right guesses."""
        least = min(noise for noise, _, _ in self.history)
        return min(least / (self.group_size * _LEAST_NOISE), _MOST_MU / (self.group_size * central_mu(self.history)))

    def curve(self, strength: float) -> Curve:
        """By privacy loss distributions."""
        return steps_curve(self._at(strength), self.group_size).least

    def epsilon(self, strength: float) -> float:
        """By zero-out adjacency."""
        if strength == 0:
            return 0.0
        return steps_epsilon(self._at(strength), self.delta, "zero-out", self.group_size)

    def _at(self, strength: float) -> History:
        return [(noise / strength, rate, steps) for noise, rate, steps in self.history]


def epsilon_one_run_f_dp(
    canaries: int, guessed: int, right: int, family: CurveFamily, level: float = 0.95
) -> EpsilonBound:
    """The bound from `right` of `guessed` guesses (c of c') on `canaries` coins (m), and its ceiling, all right.

    Raises ValueError unless `0 <= right <= guessed <= canaries`, `guessed >= 1` and `level` is in (0, 1).
    """
    if not (guessed >= 1 and 0 <= right <= guessed <= canaries):
        raise ValueError(f"{right} right of {guessed} guesses on {canaries} canaries is no count")
    alpha = 2 * tail(level)

    def bound(count: int) -> float:
        def refuted(strength: float) -> bool:
            curve = family.curve(strength) if strength > 0 else (lambda a: 1 - a)
            return _refutes(curve, canaries, guessed, count, alpha)

        return family.epsilon(largest(refuted, _CLOSE, family.most))

    return EpsilonBound(bound(right), bound(guessed), level, f"independent fair coins, and {family.assumes}")


def _refutes(curve: Curve, m: int, guessed: int, right: int, alpha: float) -> bool:
    """Tell whether so many right guesses refute the claim of a symmetric `curve`."""
    r, h = alpha * right / m, alpha * (guessed - right) / m
    for i in range(right - 1, -1, -1):
        higher = max(h, curve(1 - r))
        if higher == h:
            break
        r, h = min(1.0, r + i / (guessed - i) * (higher - h)), higher
    return r + h > guessed / m
