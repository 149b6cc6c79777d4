"""One family of tests on the same images: intervals that hold together, sharpened by how the tests are correlated.

Of k measurements with standardised deviations Z_1, .., Z_k the interval value -+ c error holds for all at once with
probability `level` where P(max_i |Z_i| <= c) = level (single-step max-T; Hothorn, Bretz and Westfall, Biometrical
Journal 50, 2008). Together the deviations are normal, with the correlations of the measurements' shares (`paired`);
attacks on one release resemble one another, so c lies below the one that Bonferroni would take: for the AUCs and TPRs
of 13 attacks with correlations of .9 it is 2.7, without correlation 3.0. One computation that is there twice costs
nothing.

Choices of ours:
- c is read off 20,000 draws of a generator with a fixed seed, so a family has always the same c; it is off by .015, a
  level of .95 by .002. It never lies beyond Bonferroni's, nor below that of one test.
- A measurement may have one side (a TPR above its FPR): then Z_i stands for |Z_i|.
- A p value is corrected by the share of draws whose maximum lies beyond its own normal quantile; with fewer than 20
  such draws by Bonferroni.
- There is no step-down as in Holm's: where the smallest p value is not significant, none is, and the least that can be
  said of the largest leak does not depend on the other steps.

A family is that of one release: a training, so one seed. Of a point with several seeds each is judged by its own
family, and nothing is corrected over seeds: "leaks" is said where all of them do, and where they disagree each speaks.

Simulated with one test of the AUC and one of the TPR at FPR 10 % an attack: `python
tests/leakbench/statistics/test_family.py`, whose table is in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._scores import Scores, tail

_DRAWS = 20_000
_TELLING = 20  # draws beyond a p value


class Family:
    """Measurements that are judged together; `level` is the one of each interval, so that all hold together."""

    def __init__(self, shares: ArrayLike, one_sided: Sequence[bool] = (), level: float = 0.95) -> None:
        """`shares` (k, units): each measurement's shares of the same units, 0 for a unit that it does not rest on.

        `one_sided`: which of the k have one side; none if left out. Raises ValueError without a measurement and for a
        level outside (0, 1).
        """
        from scipy.special import ndtr, ndtri

        rows = np.atleast_2d(np.asarray(shares, dtype=np.float64))
        sides = np.asarray(one_sided if len(one_sided) else [False] * len(rows), dtype=bool)
        if rows.size == 0 or len(sides) != len(rows):
            raise ValueError(
                f"{len(rows)} measurements, {len(sides)} of known sides: a family has one side or two each"
            )
        self.count = len(rows)
        self._largest = _draw_largest(rows, sides)
        alpha = tail(level)
        single = 2 * alpha if sides.all() else alpha  # a lone one-sided test spends all on its side
        c = float(np.quantile(self._largest, level))
        c = min(max(c, -float(ndtri(single))), -float(ndtri(alpha / self.count)))
        self.level = 1 - 2 * float(ndtr(-c))

    def correct(self, p_value: float) -> float:
        """The two-sided p value of one of the measurements, corrected for all of them."""
        from scipy.special import ndtri

        beyond = int(np.count_nonzero(self._largest >= -float(ndtri(p_value / 2))))
        bonferroni = min(1.0, self.count * p_value)
        return bonferroni if beyond < _TELLING else max(p_value, min(bonferroni, beyond / _DRAWS))


def _draw_largest(rows: Scores, one_sided: NDArray[np.bool_]) -> Scores:
    """Draws of the largest standardised deviation, (draws,)."""
    lengths = np.sqrt((rows**2).sum(axis=1))
    rows = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    values, vectors = np.linalg.eigh(rows @ rows.T)
    z = _normals(len(rows)) @ (vectors * np.sqrt(values.clip(min=0))).T
    return np.asarray(np.where(one_sided, z, np.abs(z)).max(axis=1), dtype=np.float64)


@lru_cache(maxsize=8)
def _normals(count: int) -> Scores:
    return np.random.default_rng(0).normal(size=(_DRAWS, count))
