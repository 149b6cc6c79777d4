"""Epsilon of a history of noisy steps, and the noise that keeps a budget: opacus's accountants, asked with care.

A history is [[noise multiplier, sampling rate, steps], ...]: Poisson-sampled Gaussian mechanisms, of which neighbours
differ in the contribution of one image (zero-out). PRV composes privacy losses numerically (Gopi et al. 2021,
2106.02848) and answers an upper bound; RDP (Mironov 2017, 1702.07476; Mironov et al. 2019, 1908.10530) is looser and
stands beside it.

Beside them stands the epsilon for neighbours of which one image is exchanged for another, by Google's dp-accounting:
two images' contributions differ by up to twice the clip, and it is two to three times as large.

Of a group (a person, a patient) whose images are drawn each by itself, epsilon is that of mixtures of Gaussians
(leakbench.statistics.noisy_steps), by Google's dp-accounting as well: 2.61 by image is 6.25 for two images, 21.7 for
five and 61.7 for ten at rate 0.05, noise multiplier 1.5, 500 steps and delta 1e-3
(`pytest tests/defenses/test_dp_groups.py -k four_numbers`).

Choices of ours: PRV's error, which its answer includes, is opacus's 0.01, or half a percent of epsilon where that is
less, or a thousandth (of one, of epsilon) where that is more: finer costs seconds and memory for digits that nobody
reads. Orders of RDP are opacus's and some on either side of them, for budgets below 0.2 and above 50. Where PRV cannot
answer (epsilon of hundreds, delta below what float64 can add up), RDP's epsilon is the one claimed, and the claim says
so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.prv import Domain
from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent
from opacus.accountants.utils import get_noise_multiplier
from scipy.optimize import brentq

from leakbench.runtime.errors import UsageError
from leakbench.statistics.noisy_steps import is_told_by_group, steps_epsilon

History = Sequence[Sequence[float]]

ORDERS = [
    *(1 + i / 100 for i in range(1, 10)),
    *RDPAccountant.DEFAULT_ALPHAS,
    *(round(2 ** (i / 2)) for i in range(12, 21)),
]
_STRIDE = 8
_FEW_ORDERS = [1.25, 1.5, *(round(2 ** (i / 2)) for i in range(2, 21))]  # for a first guess, which may be too careful
_PRV_UP_TO = 300.0  # of RDP's epsilon: above, exp(epsilon) overflows in PRV's grid
_CLOSE = 1e-3  # of the noise multiplier that is looked for


@dataclass(frozen=True)
class Spent:
    """Epsilon that a history spends at a delta. `accountant` is the one whose answer `epsilon` is."""

    epsilon: float
    accountant: Literal["prv", "rdp"]
    epsilon_rdp: float


def spent(history: History, delta: float) -> Spent:
    """Epsilon at delta of a history that is not empty. Computed once a process: PRV takes up to seconds."""
    return _spent(tuple((float(noise), float(rate), int(steps)) for noise, rate, steps in history), delta)


@cache
def _spent(history: tuple[tuple[float, float, int], ...], delta: float) -> Spent:
    with _quiet():
        looser = max(0.0, rdp_epsilon(history, delta))
        tighter = _prv(history, delta, error_for(looser)) if 0 < looser < _PRV_UP_TO else None
    if tighter is None or tighter > looser:
        return Spent(looser, "rdp", looser)
    return Spent(max(0.0, tighter), "prv", looser)


def replace_one_epsilon(history: History, delta: float) -> float | None:
    """Epsilon at delta for neighbours of which one image is replaced; None beyond an RDP epsilon of 300, as for PRV."""
    with _quiet():
        within = rdp_epsilon(history, delta) < _PRV_UP_TO
    return steps_epsilon(history, delta, "replace") if within else None


def group_epsilon(history: History, delta: float, group_size: int) -> float | None:
    """Epsilon at delta for all images of a group together, `group_size` at most; None where it is in the hundreds."""
    if not is_told_by_group(history, group_size):
        return None
    return max(0.0, steps_epsilon(history, delta, "zero-out", group_size))


@cache
def group_noise_for(epsilon: float, delta: float, rate: float, steps: int, group_size: int) -> float:
    """The least noise, to a thousandth of itself, with which so many steps spend no more than epsilon of a group.

    Raises UsageError for a budget that no noise can be shown to keep.
    """

    @cache
    def over(log_noise: float) -> float:
        found = group_epsilon([(math.exp(log_noise), rate, steps)], delta, group_size)
        if found is None:
            return math.inf
        return math.log(found / epsilon) if found > 0 else -math.inf

    # Were all images of a group drawn whenever one of them is, this would be enough.
    upper = math.log(enough_group_noise(epsilon, delta, rate, steps, group_size))
    while over(upper) > 0:  # the mixture's grid may round up
        upper += _CLOSE
    lower = upper
    while over(lower) <= 0:  # epsilon grows at least as fast as noise falls
        upper, lower = lower, lower - min(-over(lower), 1.0) - 0.01
    noise = brentq(lambda at: min(max(over(at), -1.0), 1.0), lower, upper, xtol=_CLOSE / 2)
    while over(noise) > 0:
        noise += _CLOSE / 2
    return math.exp(noise)


def enough_group_noise(epsilon: float, delta: float, rate: float, steps: int, group_size: int) -> float:
    """Noise that keeps a budget of a group by RDP: see `enough_noise`."""
    return group_size * enough_noise(epsilon, delta, 1 - (1 - rate) ** group_size, steps)


def rdp_epsilon(history: History, delta: float, orders: Sequence[float] = ORDERS) -> float:
    """The least epsilon that any of the ascending `orders` shows, by RDP.

    Epsilon at an order a is N(a) / (a - 1), where N is convex: (a - 1) times the Renyi divergence is, and so is what
    the conversion adds (Balle et al. 2020, 1905.09982, theorem 21). Such a quotient has one valley, so the orders on
    either side of the best of every eighth hold the best of all, in a quarter of the time.
    """
    _, best = _least(history, delta, orders[::_STRIDE])
    at = orders.index(best)
    epsilon, _ = _least(history, delta, orders[max(0, at - _STRIDE) : at + _STRIDE + 1])
    return float(epsilon)


def _least(history: History, delta: float, orders: Sequence[float]) -> tuple[float, float]:
    """Epsilon and the order that shows it."""
    rdp = sum(np.array([_divergence(noise, rate, order) for order in orders]) * steps for noise, rate, steps in history)
    epsilon, best = get_privacy_spent(orders=list(orders), rdp=rdp, delta=delta)
    return float(epsilon), best


@cache
def _divergence(noise: float, rate: float, order: float) -> float:
    """Of one step; remembered, since an epsilon by RDP and the grid of PRV read many of the same."""
    return float(compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=float(order)))


def error_for(epsilon_rdp: float) -> float:
    """PRV's error (its `eps_error`) for a history whose epsilon is at most this."""
    return max(1e-3, min(0.01, epsilon_rdp / 200), epsilon_rdp / 1000)


@cache
def noise_multiplier_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The least noise, to a thousandth of itself, with which so many steps spend no more than epsilon at delta.

    Raises UsageError for a budget that no noise can be shown to keep.
    """

    @cache
    def over(log_noise: float) -> float:
        found = spent([(math.exp(log_noise), rate, steps)], delta).epsilon
        return math.log(found / epsilon) if found > 0 else -math.inf  # a large delta may pay for all

    # RDP's answer is enough noise, and nearly always more than enough.
    upper = math.log(enough_noise(epsilon, delta, rate, steps))
    lower = upper - 0.1
    while over(lower) <= 0:
        upper, lower = lower, lower - 0.1
    noise = brentq(lambda at: max(over(at), -1.0), lower, upper, xtol=_CLOSE / 2) if over(upper) < 0 else upper
    while over(noise) > 0:
        noise += _CLOSE / 2
    return math.exp(noise)


def enough_noise(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """Noise that keeps a budget by RDP, in a tenth of a second. Raises UsageError where none can be shown to."""
    try:
        with _quiet():
            return float(
                get_noise_multiplier(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant="rdp",
                    epsilon_tolerance=epsilon / 20,
                    alphas=_FEW_ORDERS,
                )
            )
    except ValueError:
        raise UsageError(
            f"epsilon = {epsilon:g} at delta = {delta:g} is less than any noise can be shown to keep: ask for more"
        ) from None


class _PRV(PRVAccountant):  # type: ignore[misc]  # opacus ships no types
    def _get_domain(
        self, prvs: Sequence[object], num_self_compositions: Sequence[int], eps_error: float, delta_error: float
    ) -> Domain:
        """Opacus's grid, to the bit; it computes each divergence at every order, twice, and takes most of the time."""
        total = sum(num_self_compositions)
        orders = RDPAccountant.DEFAULT_ALPHAS
        reach = max(
            rdp_epsilon(self.history, delta_error / 4, orders),
            *(rdp_epsilon([(noise, rate, 1)], delta_error / (8 * total), orders) for noise, rate, _ in self.history),
            eps_error,
        )
        mesh = eps_error / np.sqrt(total * np.log(12 / delta_error) / 2)
        return Domain.create_aligned(-reach - 3, reach + 3, mesh)


def _prv(history: History, delta: float, error: float) -> float | None:
    accountant = _PRV()
    accountant.history = [(noise, rate, int(steps)) for noise, rate, steps in history]
    try:
        epsilon = float(accountant.get_epsilon(delta, eps_error=error))
    except (ValueError, RuntimeError):
        return None
    return epsilon if np.isfinite(epsilon) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of full batches (log 0) and of an order at the end of its list, which is only a looser
    bound."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
