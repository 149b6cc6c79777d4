"""Epsilon from a single training run: Steinke, Nasr and Jagielski, NeurIPS 2023 (2305.08846).

m canaries were each included by a fair coin of its own. The attacker guesses r of the coins and v guesses are right.
Under (eps, delta)-privacy, with q = 1 / (1 + e^-eps),
    beta = P[Bin(r, q) >= v],   a = max_{1 <= i <= v} P[v - i <= Bin(r, q) < v] / i,   p = beta + 2 m delta a
is a p value, and the bound is the largest eps at which p < 1 - level. With delta = 0 and all guesses right it is
ln(s / (1 - s)), s = (1 - level)^(1 / r).

What must hold: the coins are independent and fair (including exactly half of the canaries breaks the proof), the
guesses come from the release alone, and r was fixed beforehand. Public code that tries many r and keeps the best bound
does not keep its level.

Choices of ours: the r guesses are the r/2 highest scores ("in") and the r/2 lowest ("out"), r = 2 round(share m / 2),
or the even number below it where that exceeds m; equal scores are ordered by position, which knows nothing of the
coins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._scores import checked, tail
from .epsilon_bound import EpsilonBound, check_delta, largest
from .groups import mean_scores, number_by_appearance


def guesses(scores: ArrayLike, included: ArrayLike, share: float, groups: ArrayLike | None = None) -> tuple[int, int]:
    """Count the coins that are guessed and the guesses that are right: `(r, v)`, for `epsilon_one_run`.

    `scores` (m,), higher = more likely included; `included` (m,) bool, the coins; `share` in (0, 1] of them is
    guessed. With `groups` (m,) each group had one coin, is guessed by the mean score of its images, and counts as one
    canary: the bound is then of a person's images, and not of an image. Raises ValueError where scores are not finite,
    shapes differ, the images of a group had different coins, or not one pair is guessed.
    """
    ranked, coins = checked(scores), np.asarray(included)
    if coins.dtype != np.bool_ or coins.shape != ranked.shape:
        raise ValueError(f"included must be {ranked.size} booleans, got {coins.dtype} of shape {coins.shape}")
    if groups is not None:
        ranked, coins = group_canaries(ranked, coins, groups)
    if not 0 < share <= 1:
        raise ValueError(f"the share that is guessed lies in (0, 1], got {share}")
    half = min(round(share * ranked.size / 2), ranked.size // 2)
    if half == 0:
        raise ValueError(f"a share of {share} of {ranked.size} canaries is not one pair of guesses")
    order = np.argsort(ranked, kind="stable")
    right = np.count_nonzero(~coins[order[:half]]) + np.count_nonzero(coins[order[-half:]])
    return 2 * half, int(right)


def group_canaries(
    scores: ArrayLike, included: ArrayLike, groups: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and coins of canaries that are groups with one coin: the mean score of each, in order of appearance.

    Raises ValueError where scores are not finite, or the images of a group had different coins.
    """
    ranked, coins = checked(scores), np.asarray(included)
    codes = number_by_appearance(groups, ranked.size)
    heads = np.bincount(codes, coins) / np.bincount(codes)
    if not np.isin(heads, (0, 1)).all():
        raise ValueError("the images of a group must have been included by one coin")
    return mean_scores(ranked, codes), heads == 1


def epsilon_one_run(canaries: int, guessed: int, right: int, delta: float, level: float = 0.95) -> EpsilonBound:
    """The bound from `right` of `guessed` guesses (v of r) on `canaries` coins (m), and its ceiling, all r right.

    Raises ValueError unless `0 <= right <= guessed <= canaries`, `guessed >= 1`, `delta` is in [0, 1) and `level` in
    (0, 1).
    """
    if not (guessed >= 1 and 0 <= right <= guessed <= canaries):
        raise ValueError(f"{right} right of {guessed} guesses on {canaries} canaries is no count")
    check_delta(delta)
    value, ceiling = (_bound(canaries, guessed, v, delta, 2 * tail(level)) for v in (right, guessed))
    return EpsilonBound(value, ceiling, level, "independent fair coins, and a number of guesses fixed beforehand")


def _bound(m: int, r: int, v: int, delta: float, alpha: float) -> float:
    return largest(lambda eps: _p_value(m, r, v, eps, delta) < alpha)


def _p_value(m: int, r: int, v: int, eps: float, delta: float) -> float:
    """The p value of "(eps, delta)-private", at most 1. It does not fall as eps grows (tested)."""
    from scipy.special import bdtr, expit

    if v == 0:
        return 1.0
    below = np.concatenate([[0.0], bdtr(np.arange(v), r, expit(eps))])  # P[Bin(r, q) < 0], ..., P[Bin(r, q) < v]
    a = float(((below[v] - below[v - 1 :: -1]) / np.arange(1, v + 1)).max())
    return min(1.0, 1 - float(below[v]) + 2 * m * delta * a)
