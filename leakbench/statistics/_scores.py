"""Checks of scores and levels, which every function here makes before it computes anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]


def checked(scores: ArrayLike, least: int = 1) -> Scores:
    """`scores` as a 1-D float64 array. Raises ValueError unless there are at least `least`, all of them finite.

    Infinity is refused too: it is the threshold that accepts nobody.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"scores must be one-dimensional, got shape {array.shape}")
    if array.size < least:
        raise ValueError(f"at least {least} scores are needed, got {array.size}")
    if not np.isfinite(array).all():
        raise ValueError("scores hold NaN or infinity: pass them through leakbench.statistics.finite first")
    return array


def tail(level: float) -> float:
    """The probability that a two-sided interval of `level` leaves on each side. Raises ValueError outside (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies strictly between 0 and 1, got {level}")
    return (1 - level) / 2
