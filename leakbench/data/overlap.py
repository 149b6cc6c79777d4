"""Overlap of the sides of a given split, as leakbench.data.side_overlap finds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leakbench.data.dataset import Dataset

SHARE = 0.1  # of the median distance of random pairs: what is within it overlaps
_PAIRS, _FEWEST = 2_000_000, 100  # pairs that are looked at, and nonmembers however many members there are


@dataclass(frozen=True)
class Overlap:
    """Nonmembers that overlap a member: of each its number and the member's, int64 (K,); how far apart they are, as a
    share of the median distance of random pairs (K,); and in what they differ, in words (K,).

    compared: nonmembers that were looked at.
    """

    nonmember: np.ndarray
    member: np.ndarray
    distance: np.ndarray
    kinds: tuple[str, ...]
    compared: int

    @classmethod
    def none(cls) -> Overlap:
        """Of sides that nobody has compared."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0), (), 0)

    @property
    def share(self) -> float:
        """Share of the nonmembers looked at that overlap a member; 0 of none."""
        return len(self.nonmember) / self.compared if self.compared else 0.0


def count_compared(members: int, nonmembers: int) -> int:
    """Nonmembers that are looked at."""
    return min(nonmembers, max(_FEWEST, _PAIRS // max(1, members)))


def format_overlap(data: Dataset, found: Overlap) -> str:
    """CSV table: number of a nonmember, number of the member that it overlaps, their distance and the bound, both as
    shares of that of random pairs, and in what they differ. A number is the image's `index` where the data set has one,
    else its row."""
    numbers = np.arange(len(data.images)) if data.index is None else data.index
    columns = numbers[found.nonmember].tolist(), numbers[found.member].tolist(), found.distance.tolist(), found.kinds
    rows = [f"{image},{other},{far:.6g},{SHARE:g},{words}" for image, other, far, words in zip(*columns, strict=True)]
    return "\n".join(["nonmember,member,distance,bound,differs", *rows, ""])
