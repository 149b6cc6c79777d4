"""Privacy of Poisson-sampled Gaussian steps (DP-SGD): epsilon by adjacency, and the trade-off curve.

A history is ((noise multiplier, sampling rate, steps), ...). Google's accountant (dp-accounting) composes privacy loss
distributions on a grid and rounds them towards less privacy. Of one step, with noise multiplier s and rate q, the two
neighbours see

    zero-out (one image's gradient is put to zero):  N(0, s^2) and (1-q) N(0, s^2) + q N(1, s^2)
    replace (one image is exchanged for another):    (1-q) N(0, s^2) + q N(-1, s^2) and (1-q) N(0, s^2) + q N(1, s^2)

in either order, while q, s, the number of steps, delta and the number of images n stay as they are. The pair of
zero-out is that of "add or remove one image" too, but there n is not public, and here q and delta follow from it.

Of a group (a person, a patient) with k images that are drawn each by a coin of its own, zero-out puts all of them to
zero, and the neighbours see a mixture of Gaussians (Ganesh 2024, 2401.10294):

    zero-out of k images:  N(0, s^2) and sum_j P[Bin(k, q) = j] N(j, s^2)

which is the worst case over gradients, and tight for some. There is no form of it for a group that is exchanged.

Choices of ours: the grid of a curve is about a thousandth of the epsilon that the central limit of all steps has, that
of an epsilon 64 times finer; both are between 1e-4 and 1e-2. The curve is read at 400 epsilons from 0 to where delta
falls below 1e-12; the lines between them are left out, which makes it lower, and bounds by it careful. The grid
of a mixture follows from the number of steps T: by nine histories of 1 to 2,000 steps, epsilon is too large by a third
of T times the square of the width at most, and that is held to about a thousandth of epsilon.
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
_SHARE, _COARSEST_OF_GROUPS = 1.5e-3, 0.05
_MOST_OF_GROUPS = 300.0  # of about the largest loss of all steps
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


def steps_epsilon(
    history: History, delta: float, adjacency: Literal["zero-out", "replace"], group_size: int = 1
) -> float:
    """Epsilon at `delta` in (0, 1) of a history that is not empty, for all `group_size` images of a group together.

    Raises ValueError for another delta, and for a group that is exchanged.
    """
    check_delta(delta)
    if group_size > 1 and adjacency != "zero-out":
        raise ValueError("of a group of images there is an epsilon by zero-out alone")
    grid = _grid(history, _FINER) if group_size == 1 else _group_grid(history, group_size)
    loss = _loss(_key(history), adjacency, grid, group_size)
    return float(loss.get_epsilon_for_delta(delta))


def is_told_by_group(history: History, group_size: int) -> bool:
    """Tell whether epsilon for `group_size` images together is below the hundreds: above, it says nothing, and takes
    large grids."""
    mu = group_size * central_mu(history)
    return 4 * mu + mu**2 / 2 <= _MOST_OF_GROUPS


def steps_curve(history: History, group_size: int = 1) -> TradeOff:
    """The trade-off curve of a history that is not empty, by zero-out adjacency of all `group_size` images of a group.

    Computed once a process.
    """
    return _curve(_key(history), group_size)


@lru_cache(maxsize=256)
def _curve(history: tuple[tuple[float, float, int], ...], group_size: int) -> TradeOff:
    grid = _grid(history, 1) if group_size == 1 else _group_grid(history, group_size)
    loss = _loss(history, "zero-out", grid, group_size)
    epsilons = np.linspace(0.0, loss.get_epsilon_for_delta(_LEAST_DELTA), _POINTS)
    return TradeOff(epsilons, np.asarray(loss.get_delta_for_epsilon(epsilons)))


def central_mu(history: History) -> float:
    """mu of the Gaussian mechanism that a history comes near at many small steps (Bu et al. 2020, 1911.11607, for
    small rate / noise)."""
    return float(sum(steps * (rate / noise) ** 2 for noise, rate, steps in history) ** 0.5)


def _grid(history: History, finer: int) -> float:
    """Width of a grid for losses of one image, `finer` than a curve's."""
    mu, least = central_mu(history), min(noise for noise, _, _ in history)
    total, step = 4 * mu + mu**2 / 2, 8 / least + 0.5 / least**2  # about the largest losses, of all steps and of one
    return float(min(max(total / 2000 / finer, step / 20_000, _FINEST), _COARSEST))


def _group_grid(history: History, group_size: int) -> float:
    """Width of a grid for losses of a group."""
    mu, least = group_size * central_mu(history), min(noise for noise, _, _ in history) / group_size
    total, step = 4 * mu + mu**2 / 2, 8 / least + 0.5 / least**2
    steps = sum(steps for _, _, steps in history)
    return float(min(max((_SHARE * total / steps) ** 0.5, step / 20_000, _FINEST), _COARSEST_OF_GROUPS))


def _key(history: History) -> tuple[tuple[float, float, int], ...]:
    return tuple((float(noise), float(rate), int(steps)) for noise, rate, steps in history)


def _loss(history: tuple[tuple[float, float, int], ...], adjacency: str, grid: float, group_size: int) -> Any:
    """The privacy loss distribution of all steps; dp-accounting ships no types."""
    stages = [_step_loss(noise, rate, adjacency, grid, group_size).self_compose(n) for noise, rate, n in history]
    total = stages[0]
    for stage in stages[1:]:
        total = total.compose(stage)
    return total


def _step_loss(noise: float, rate: float, adjacency: str, grid: float, group_size: int) -> Any:
    """That of one step."""
    from dp_accounting import NeighboringRelation as Relation
    from dp_accounting.pld import privacy_loss_distribution as losses

    if group_size > 1 and rate < 1:
        from scipy.stats import binom

        shares = binom.pmf(np.arange(group_size + 1), group_size, rate)
        drawn = np.flatnonzero(shares)
        return losses.from_mixture_gaussian_mechanism(
            noise, drawn.tolist(), (shares[drawn] / shares.sum()).tolist(), value_discretization_interval=grid
        )
    relation = {"zero-out": Relation.REPLACE_SPECIAL, "replace": Relation.REPLACE_ONE}[adjacency]
    return losses.from_gaussian_mechanism(
        noise / group_size, sampling_prob=rate, value_discretization_interval=grid, neighboring_relation=relation
    )
