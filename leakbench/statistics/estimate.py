"""A number with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A measured `value`, the interval `[low, high]` around it, and `n`, how many independent things it rests on.

    `n` is the number of trials for a proportion, and the size of the smaller group where two groups are compared
    (members and nonmembers; two sets of samples): never more than was there.
    """

    value: float
    low: float
    high: float
    n: int
