"""The members that an attack finds first: who is hurt, where an average over members would hide it.

Choice of ours: a member's exposure is its one-image false-positive rate, the share of nonmembers that score at least
as high: how often accusing everybody with that score accuses the innocent. With n nonmembers it is known to about 1 /
n only, and the members listed are the extremes of many: 0 means "less than about 3 / n", not "certain".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ._scores import checked
from .roc import share_at_least


@dataclass(frozen=True)
class Exposed:
    """A member's `position` among the member scores, its `score`, and the share of nonmembers at or above it."""

    position: int
    score: float
    false_positive_rate: float


def exposed(member: ArrayLike, nonmember: ArrayLike, count: int) -> list[Exposed]:
    """The `count` members of highest score, the highest first, equals by position; all members if there are fewer.

    Scores have shapes (m,) and (n,). Raises ValueError where either is empty or not finite, and if `count` is below 1.
    """
    members, nonmembers = checked(member), checked(nonmember)
    if count < 1:
        raise ValueError(f"at least one member must be asked for, got {count}")
    first = np.argsort(-members, kind="stable")[:count]
    rates = share_at_least(nonmembers, members[first])
    return [
        Exposed(int(position), float(members[position]), float(rate))
        for position, rate in zip(first, rates, strict=True)
    ]
