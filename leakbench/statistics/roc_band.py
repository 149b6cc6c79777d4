"""Band around a ROC curve, which at each false-positive rate holds the true-positive rate with 95 %.

At a fixed threshold the counts of false and of true positives are two independent binomials: Clopper and Pearson's
intervals, each at the root of the level, make a rectangle that holds the true point. The rectangles of all steps of
the curve, joined, are the band (Campbell, Statistics in Medicine 13, 1994). The threshold at which the true curve has a
given false-positive rate is one of these, so the band holds there without knowing which; it errs to the wide side, the
more so the steeper the curve. Simulated coverage stands in tests/leakbench/statistics/test_roc_band.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores
from .roc import roc_curve


@dataclass(frozen=True)
class RocBand:
    """Bounds `low`, `high` of the true-positive rate at each of `fpr`, ascending; all (steps,)."""

    fpr: Scores
    low: Scores
    high: Scores


def roc_band(member: ArrayLike, nonmember: ArrayLike, level: float = 0.95) -> RocBand:
    """The band at the steps of the curve. Scores are finite, and independent of one another.

    Raises ValueError as `roc_curve` does.
    """
    roc = roc_curve(member, nonmember)
    false = _interval(roc.fpr, len(np.asarray(nonmember)), sqrt(level))
    true = _interval(roc.tpr, len(np.asarray(member)), sqrt(level))
    last = roc.fpr.size - 1
    first_above = np.minimum(np.searchsorted(false[1], roc.fpr, side="left"), last)
    last_below = np.maximum(np.searchsorted(false[0], roc.fpr, side="right") - 1, 0)
    return RocBand(roc.fpr, true[0][first_above], true[1][last_below])


def _interval(rates: Scores, n: int, level: float) -> tuple[Scores, Scores]:
    """Clopper and Pearson's bounds of rates, each a count over n."""
    from scipy.special import betaincinv

    hits, tail = np.rint(rates * n), (1 - level) / 2
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, tail), 0.0)
    high = np.where(hits < n, betaincinv(hits + 1, np.maximum(n - hits, 1), 1 - tail), 1.0)
    return low, high
