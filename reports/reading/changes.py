"""Comparison of a quantity at two points by their intervals.

A quantity moved only if the two intervals do not overlap, which is stricter than a test of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.statistics import Summary


@dataclass(frozen=True)
class Change:
    """A quantity from no protection to a point of a defense; `kind` is "fell", "rose" or "" (not shown to move)."""

    kind: str
    words: str


def compare_intervals(what: str, before: Summary | None, after: Summary | None, texts: tuple[str, str]) -> Change:
    """Compares two intervals; `texts` are the numbers as they are to be printed."""
    if before is None or after is None:
        return Change("", f"{what}: not measured on both sides")
    kind = "fell" if after.high < before.low else "rose" if after.low > before.high else ""
    verb = kind or "was not shown to move beyond the intervals:"
    return Change(kind, f"{what} {verb} from {texts[0]} to {texts[1]}")
