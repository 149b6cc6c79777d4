"""Chooses the rows that a budget buys, each at the least with which it means something.

Baselines and controls, and what they stand on, are always bought: the rest is compared with them. Of the other
defenses each is bought, in the order of the suite file, if it still fits (a choice of ours).
"""

from __future__ import annotations

from collections.abc import Callable

from leakbench.suite.budget import EmptyRow
from leakbench.suite.small import Small
from leakbench.suite.suite import Suite

Takes = Callable[[frozenset[str]], float]


def choose_rows(
    suite: Suite, small: Small, takes: Takes, seconds: float, to_minutes: Callable[[float], int]
) -> tuple[tuple[EmptyRow, ...], int | None]:
    """The rows to leave out, and the minutes at which all that can be bought would be; () and None where none is left
    out.

    - takes: seconds of the suite at its least, without these rows.
    - seconds: the most that it may take. Where even the rows that are always bought take longer, those are kept.
    - to_minutes: the budget at which so many seconds fit.
    """
    stands_on = _list_optional(suite)
    hopeless = frozenset(row for row, chain in stands_on.items() if chain & small.empty.keys())
    left_out = hopeless if takes(hopeless) <= seconds else _buy(stands_on, hopeless, takes, seconds)
    if not left_out:
        return (), None

    def describe(row: str) -> EmptyRow:
        least = small.least.get(row, {})
        if row in hopeless:
            below = min(stands_on[row] & small.empty.keys())
            reason = small.empty.get(row, f"it stands on {below}")
            return EmptyRow(row, least, None, reason)
        return EmptyRow(row, least, to_minutes(takes(left_out - stands_on[row])))

    return tuple(describe(row) for row in stands_on if row in left_out), to_minutes(takes(hopeless))


def _list_optional(suite: Suite) -> dict[str, frozenset[str]]:
    """Defenses that can be left out, in order, each with those of them that it stands on and itself."""
    always = {link.id for point in suite.points if point.role != "defense" for link in point.chain}
    return {
        point.id: frozenset(link.id for link in point.chain) - always
        for point in suite.points
        if point.id not in always
    }


def _buy(
    stands_on: dict[str, frozenset[str]], hopeless: frozenset[str], takes: Takes, seconds: float
) -> frozenset[str]:
    """The rows that are left when each of the others was bought that still fitted."""
    left_out = frozenset(stands_on)
    for row, chain in stands_on.items():
        if row not in hopeless and chain & left_out == {row} and takes(left_out - {row}) <= seconds:
            left_out -= {row}
    return left_out
