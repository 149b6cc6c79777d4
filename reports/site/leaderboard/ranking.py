"""The order of rows: by their worst case, the least leak first.

Two rows whose intervals meet are not shown to differ, so beside its place each row has the places that it may hold: it
is behind all rows whose interval lies wholly below its own, and before all whose interval lies wholly above.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .row import Row


@dataclass(frozen=True)
class Place:
    """The place of a row, from 1 up, and the first and the last that its interval allows."""

    rank: int
    first: int
    last: int

    @property
    def words(self) -> str:
        """`2 (1 to 4)`; `1` where there is no doubt."""
        return str(self.rank) if self.first == self.last else f"{self.rank} ({self.first} to {self.last})"


def rank_rows(rows: Sequence[Row]) -> list[tuple[Row, Place | None]]:
    """Rows in their order with their places; those that do not rank come last, as they were, without one."""
    ranked = sorted(
        (one for one in rows if not one.unranked), key=lambda one: (one.leak, one.point.name, one.entry.digest)
    )
    lows, highs = (sorted(one.bounds[side] for one in ranked) for side in (0, 1))
    placed: list[tuple[Row, Place | None]] = []
    number = 0
    for index, row in enumerate(ranked):
        if index == 0 or row.leak != ranked[index - 1].leak:
            number = index + 1  # rows of equal leak share a place
        low, high = row.bounds
        placed.append((row, Place(number, bisect_left(highs, low) + 1, bisect_right(lows, high))))
    return [*placed, *((row, None) for row in rows if row.unranked)]
