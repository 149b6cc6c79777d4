"""A number with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExactTest:
    """The exact test of an AUC of few images (`exact`): its two-sided `p_value`, corrected for all attacks of its
    release, the numbers of members and nonmembers (of their groups, where `grouped`), and the least AUC that would have
    been found, None where none can be."""

    p_value: float
    members: int
    nonmembers: int
    detectable: float | None = None
    grouped: bool = False


@dataclass(frozen=True)
class Estimate:
    """A measured `value`, the interval `[low, high]` around it, and `n`, the number of images that it rests on.

    `n` is the number of trials for a proportion, and the size of the smaller side where two are compared (members and
    nonmembers; two sets of samples): never more than was there. `groups`: the number of groups (people, patients) of
    that side, where images come in groups; None where they do not. `exact`: the test that judges in the interval's
    place, where there are few images.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int | None = None
    exact: ExactTest | None = None

    @property
    def independent(self) -> int:
        """The number of independent things that the estimate rests on: groups where there are any, else images."""
        return self.n if self.groups is None else self.groups
