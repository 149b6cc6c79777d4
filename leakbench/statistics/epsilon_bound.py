"""A lower bound of epsilon, and the search that all of them need.

A bound says: with confidence `level` the training is not (eps, delta)-private for any eps below `value`. It speaks of
the attack that was run, so it is never more than the attack could show; the `ceiling` is what the same number of
images would have shown had the attack made no mistake. A value next to its ceiling says that more images are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

_ENOUGH = 1e-10  # width at which the search stops, relative to 1 + eps


@dataclass(frozen=True)
class EpsilonBound:
    """`value`, at least 0 (nothing shown), at most `ceiling`; `level` in (0, 1); `assumes`: beyond the counts."""

    value: float
    ceiling: float
    level: float
    assumes: str


def largest(refuted: Callable[[float], bool], enough: float = _ENOUGH, most: float = inf) -> float:
    """The largest eps in [0, most] that is refuted, 0 if none is: `refuted` is true up to there, and false from there
    on.

    The answer errs to the low side, by `enough` (1 + eps) at most. Doubles, then bisects; whoever calls without `most`
    sees to it that some eps is not refuted.
    """
    if not refuted(0.0):
        return 0.0
    low, high = 0.0, min(1.0, most)
    while refuted(high):
        if high == most:
            return most
        low, high = high, min(2 * high, most)
    while high - low > enough * (1 + low):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def either_way(bound: Callable[[int, float], EpsilonBound], guessed: int, right: int, level: float) -> EpsilonBound:
    """The larger of the bounds of the guesses as they are and of their opposites, each at half of 1 - level.

    `bound(right, level)` is that of one direction. So an attack that orders the wrong way round shows as much as its
    mirror image, without a look at which of the two does better; the larger holds with `level`. Where every guess is
    reversed, `guessed - right` of them are right.
    """
    return replace(bound(max(right, guessed - right), (1 + level) / 2), level=level)


def check_delta(delta: float) -> None:
    """Raises ValueError unless `delta` is in [0, 1)."""
    if not 0 <= delta < 1:
        raise ValueError(f"delta lies in [0, 1), got {delta}")
