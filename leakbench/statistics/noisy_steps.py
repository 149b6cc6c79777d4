"""Privacy of Poisson-sampled Gaussian steps (DP-SGD): epsilon by adjacency, and the trade-off curve.

A history is ((noise multiplier, sampling rate, steps), ...). Google's accountant (dp-accounting) composes privacy loss
distributions on a grid and rounds them towards less privacy. Of one step, with noise multiplier s and rate q, the two
neighbours see

    zero-out (one image's gradient is put to zero):  N(0, s^2) and (1-q) N(0, s^2) + q N(1, s^2)
    replace (one image is exchanged for another):    (1-q) N(0, s^2) + q N(-1, s^2) and (1-q) N(0, s^2) + q N(1, s^2)

in either order, while q, s, the number of steps, delta and the number of images n stay as they are. The pair of
zero-out is that of "add or remove one image" too, but there n is not public, and here q and delta follow from it.

Choices of ours: the grid of a curve is about a thousandth of the epsilon that the central limit of all steps has, that
of an epsilon 64 times finer; both are between 1e-4 and 1e-2. The curve is read at 400 epsilons from 0 to where delta
falls below 1e-12; the lines between them are left out, which makes it lower, and bounds by it careful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from ._scores import Scores
from .epsilon_bound import check_delta

History = Sequence[Sequence[float]]

_FINEST, _COARSEST, _FINER = 1e-4, 1e-2, 64  # widths of grids
_LEAST_DELTA, _POINTS = 1e-12, 400


@dataclass(frozen=True)
class TradeOff:
    """A lower bound of a mechanism's symmetric trade-off curve f, from its delta (K,) at each of some epsilons (K,).

    f(a) is the least false-negative rate of any test at false-positive rate a.
    """

    epsilons: Scores
    deltas: Scores

    def least(self, alpha: float) -> float:
        """f at `alpha` in [0, 1]."""
        flat = np.exp(-self.epsilons) * (1 - self.deltas - alpha)
        return float(max(0.0, flat.max(), self._steep(alpha)))

    def _steep(self, alpha: float) -> float:
        return float((1 - self.deltas - self._odds * alpha).max())

    @cached_property
    def _odds(self) -> Scores:
        return np.exp(np.minimum(self.epsilons, 700.0))


def steps_epsilon(history: History, delta: float, adjacency: Literal["zero-out", "replace"]) -> float:
    """Epsilon at `delta` in (0, 1) of a history that is not empty. Raises ValueError for another delta."""
    check_delta(delta)
    loss = _loss(_key(history), adjacency, _grid(history, _FINER))
    return float(loss.get_epsilon_for_delta(delta))


def steps_curve(history: History) -> TradeOff:
    """The trade-off curve of a history that is not empty, by zero-out adjacency. Computed once a process."""
    return _curve(_key(history))


@lru_cache(maxsize=256)
def _curve(history: tuple[tuple[float, float, int], ...]) -> TradeOff:
    loss = _loss(history, "zero-out", _grid(history, 1))
    epsilons = np.linspace(0.0, loss.get_epsilon_for_delta(_LEAST_DELTA), _POINTS)
    return TradeOff(epsilons, np.asarray(loss.get_delta_for_epsilon(epsilons)))


def central_mu(history: History) -> float:
    """mu of the Gaussian mechanism that a history comes near at many small steps (Bu et al. 2020, 1911.11607, for
    small rate / noise)."""
    return float(sum(steps * (rate / noise) ** 2 for noise, rate, steps in history) ** 0.5)


def _grid(history: History, finer: int) -> float:
    """Width of a grid, `finer` than a curve's."""
    mu, least = central_mu(history), min(noise for noise, _, _ in history)
    total, step = 4 * mu + mu**2 / 2, 8 / least + 0.5 / least**2  # about the largest losses, of all steps and of one
    return float(min(max(total / 2000 / finer, step / 20_000, _FINEST), _COARSEST))


def _key(history: History) -> tuple[tuple[float, float, int], ...]:
    return tuple((float(noise), float(rate), int(steps)) for noise, rate, steps in history)


def _loss(history: tuple[tuple[float, float, int], ...], adjacency: str, grid: float) -> Any:
    """The privacy loss distribution of all steps; dp-accounting ships no types."""
    from dp_accounting import NeighboringRelation as Relation
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    relation = {"zero-out": Relation.REPLACE_SPECIAL, "replace": Relation.REPLACE_ONE}[adjacency]
    stages = [
        from_gaussian_mechanism(
            noise, sampling_prob=rate, value_discretization_interval=grid, neighboring_relation=relation
        ).self_compose(steps)
        for noise, rate, steps in history
    ]
    total = stages[0]
    for stage in stages[1:]:
        total = total.compose(stage)
    return total
