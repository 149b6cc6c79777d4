"""Every two of several attacks on the same images, compared: DeLong's paired difference, p values adjusted by Holm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from numpy.typing import ArrayLike

from .auc import delong_pair
from .estimate import Estimate
from .multiple import holm


@dataclass(frozen=True)
class Pair:
    """AUC of `first` minus AUC of `second`; `p_value` of "no difference", and `adjusted` for the number of pairs.

    The interval is this pair's own, not adjusted.
    """

    first: str
    second: str
    difference: Estimate
    p_value: float
    adjusted: float


def all_pairs(attacks: Mapping[str, tuple[ArrayLike, ArrayLike]], level: float = 0.95) -> list[Pair]:
    """All pairs of `attacks`, name -> `(member, nonmember)` scores, in the order of the names given; one attack: none.

    Entry i of every `member` is the same image, likewise for `nonmember`. Raises ValueError as `delong_pair` does.
    """
    names = list(combinations(attacks, 2))
    found = [delong_pair(*attacks[first], *attacks[second], level) for first, second in names]
    adjusted = holm([one.p_value for one in found])
    return [
        Pair(first, second, one.difference, one.p_value, after)
        for (first, second), one, after in zip(names, found, adjusted, strict=True)
    ]
