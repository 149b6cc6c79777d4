"""Exact tests of "members score as nonmembers do", for few images: by permuting which images are members.

If membership has no say in the scores, every choice of m of the m + n images is as likely to have been the members. The
p value is the share of the choices whose AUC lies as far from 1/2 as the one found, on either side, so it holds for any
m and n and however scores are distributed; it is 2 / C(m + n, m) at the least (of 3 members and 20 nonmembers 0.0011).
For one attack that is the exact test of Mann and Whitney (Annals of Mathematical Statistics 18, 1947), ties by
midranks. Of several attacks on the same images the largest distance of each choice is taken (max-T; Westfall and Young,
Resampling-Based Multiple Testing, 1993): one error rate for all of them, and attacks that resemble one another cost
little. Where images come in groups (people), groups are permuted. Of one person among g others the rank is left, in the
attack's own direction (high: a member): p is 1 / (1 + g) at the least.

Choices of ours. One attack's distribution of rank sums is counted in full where that takes up to 2e8 additions. Else,
and of several attacks, all choices are looked at where there are 20,000 at most, and otherwise as many are drawn with a
fixed seed: then p = (1 + those as far) / 20,001, which is exact too (Phipson and Smyth 2010).

"Would have been found" is the least AUC of two normal distributions of one width whose test comes out with 80 % power,
by the standard error of Hanley and McNeil.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb, inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._scores import Scores, checked
from .auc import measured
from .groups import Groups, number_groups
from .power import POWER, hanley_mcneil

_DRAWS = 20_000
_ADDITIONS = 2e8
_NEAR = 1e-9  # distances that differ by less are one
_SORTED = 1_000  # units from which on choices are drawn one by one


class ExactFamily:
    """Tests on the same images, one of each pair of scores; p values hold for all of them together."""

    def __init__(self, scores: Sequence[tuple[ArrayLike, ArrayLike]], groups: Groups | None = None) -> None:
        """`scores`: members (m,) and nonmembers (n,) by each attack; `groups` as in `auc`. Raises ValueError without
        scores, where a side is empty, where scores are not finite, and where attacks scored other numbers of images."""
        sides = [(checked(member), checked(nonmember)) for member, nonmember in scores]
        if len({(member.size, nonmember.size) for member, nonmember in sides}) != 1:
            raise ValueError("exact tests together take scores of the same images, of one attack at least")
        units = _Units(sides[0][0].size, sides[0][1].size, groups)
        self.members, self.nonmembers = units.members, units.count - units.members
        self._drawn = comb(units.count, units.members) > _DRAWS
        chosen = _choices(units.count, units.members)
        self._furthest = np.full(len(chosen), -0.5)
        for member, nonmember in sides:
            np.maximum(self._furthest, units.distances(member, nonmember, chosen), out=self._furthest)
        self._furthest.sort()

    def correct(self, auc: float) -> float:
        """The two-sided p value of one of the attacks' AUC, corrected for all of them."""
        distance = auc - 0.5 if self.members == 1 else abs(auc - 0.5)
        below = int(np.searchsorted(self._furthest, distance - _NEAR))
        as_far = len(self._furthest) - below + self._drawn
        return float(min(1.0, as_far / (len(self._furthest) + self._drawn)))

    def critical(self, alpha: float = 0.05) -> float:
        """The least distance of an AUC from 1/2 that is significant at `alpha`; infinity where none can be."""
        for distance in np.unique(self._furthest)[-1 - int(alpha * len(self._furthest)) :]:
            if self.correct(0.5 + float(distance)) <= alpha:
                return float(distance)
        return inf


def exact_p_value(member: ArrayLike, nonmember: ArrayLike, groups: Groups | None = None) -> float:
    """The two-sided p value of one attack by its scores of shapes (m,) and (n,); `groups` as in `auc`.

    Raises ValueError where scores are empty or not finite.
    """
    members, nonmembers = checked(member), checked(nonmember)
    m, total = members.size, members.size + nonmembers.size
    fewer = min(m, total - m)
    if groups is not None or 2.0 * (fewer * total) ** 2 > _ADDITIONS:
        return ExactFamily([(members, nonmembers)], groups).correct(measured(members, nonmembers).value)
    ranks = np.rint(2 * _midranks(np.concatenate([members, nonmembers]))).astype(np.int64)
    shares = _rank_sums(ranks, fewer)
    middle = fewer * (total + 1)  # of doubled rank sums
    own = int(ranks[:m].sum()) if m == fewer else int(ranks[m:].sum())
    far = np.abs(np.arange(len(shares)) - middle) >= abs(own - middle)
    return float(min(1.0, shares[far].sum()))


def least_p_value(members: int, nonmembers: int) -> float:
    """The least p value that `ExactFamily` can give of so many units: two choices are the farthest, one where a single
    unit is ranked; of choices that are drawn, none but the one found."""
    choices = comb(members + nonmembers, members)
    furthest = (1 if members == 1 else 2) / choices
    return furthest if choices <= _DRAWS else max(furthest, 1 / (1 + _DRAWS))


def permutation_p_value(auc: float, permuted: ArrayLike, two_sided: bool = True) -> float:
    """The p value of an AUC among those (k,) that the same gave with the two sides permuted: of one as far from 1/2, or
    as high."""
    others = checked(permuted)
    far = np.abs(others - 0.5) >= abs(auc - 0.5) - _NEAR if two_sided else others >= auc - _NEAR
    return float((1 + np.count_nonzero(far)) / (1 + others.size))


def exact_detectable_auc(members: int, nonmembers: int, critical: float) -> float | None:
    """The least AUC above 1/2 whose test comes out with 80 % power, where a distance of `critical` from 1/2 is
    significant; None where none does."""
    from scipy.special import ndtri

    if 0.5 + critical > 1:
        return None
    reach = float(ndtri(POWER))
    for step in range(int(100 * critical), 50):
        auc = 0.5 + step / 100
        if auc - reach * hanley_mcneil(auc, members, nonmembers) >= 0.5 + critical:
            return auc
    return 1.0


class _Units:
    """What is permuted: images, or groups of them. The first `members` units are the members'. A group on both sides is
    one unit on each."""

    def __init__(self, m: int, n: int, groups: Groups | None) -> None:
        ours, theirs = groups if groups is not None else (np.arange(m), np.arange(n))
        inside, outside = number_groups(ours, m), number_groups(theirs, n)
        self.members = int(inside.max()) + 1
        self._codes = np.concatenate([inside, outside + self.members])
        self.count = int(self._codes.max()) + 1
        self._sizes = np.bincount(self._codes, minlength=self.count)

    def distances(self, member: Scores, nonmember: Scores, chosen: NDArray[np.int64]) -> Scores:
        """How far the AUC lies from 1/2 where the units `chosen` (choices, units) are the members; above it, of one."""
        ranks = _midranks(np.concatenate([member, nonmember]))
        sums = np.bincount(self._codes, ranks, minlength=self.count)
        images = self._sizes[chosen].sum(axis=1)
        pairs = images * (ranks.size - images)
        apart = (sums[chosen].sum(axis=1) - images * (images + 1) / 2) / pairs - 0.5
        return np.asarray(apart if self.members == 1 else np.abs(apart))


@lru_cache(maxsize=4)
def _choices(count: int, size: int) -> NDArray[np.int64]:
    """All choices of `size` of so many units, or as many as are drawn: (choices, size)."""
    if comb(count, size) <= _DRAWS:
        return np.array(list(combinations(range(count), size)), dtype=np.int64)
    rng = np.random.default_rng(0)
    if count < _SORTED or size**2 > count:
        pieces = [rng.random((500, count)).argpartition(size - 1, axis=1)[:, :size] for _ in range(_DRAWS // 500)]
        return np.concatenate(pieces).astype(np.int64)
    found = rng.integers(0, count, (_DRAWS, size))
    while len(again := np.flatnonzero((np.diff(np.sort(found, axis=1), axis=1) == 0).any(axis=1))):
        found[again] = rng.integers(0, count, (len(again), size))
    return found


def _rank_sums(ranks: NDArray[np.int64], size: int) -> Scores:
    """The share of the choices of `size` images that have each sum of doubled midranks."""
    most = int(np.sort(ranks)[-size:].sum())
    shares = np.zeros((size + 1, most + 1))
    shares[0, 0] = 1.0
    for seen, rank in enumerate(ranks.tolist()):
        # Weights are chances of drawing without replacement, so that nothing overflows.
        take = np.clip((size - np.arange(size + 1)) / (len(ranks) - seen), 0.0, 1.0)[:, None]
        taken = shares[:-1, : most + 1 - rank] * take[:-1]
        shares *= 1 - take
        shares[1:, rank:] += taken
    return np.asarray(shares[size])


def _midranks(scores: Scores) -> Scores:
    ordered = np.sort(scores)
    low, high = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return np.asarray((low + high + 1) / 2, dtype=np.float64)
