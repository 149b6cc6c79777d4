"""Points on which several defenses stand on each other, and the points that have some of the same steps alone.

A step is a link of the chain that is no baseline. The leakage of a stack is compared with that of each of its parts, at
the levels of the trade-off: by the test of `changes.py`, two-sided, corrected by Holm over all comparisons of the run.

Implementation choice: steps are told by their methods. A sweep has several points of the same methods, and which of
them a stack was built of is not in the plan; such points are no part of anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import holm

from .changes import SAME, Move, compare_leakage
from .marks import find_marks
from .points import TRADEOFF_LEVELS
from .strongest import allowed_records
from .void import list_void_reasons


@dataclass(frozen=True)
class Stack:
    """A point of two steps or more. `parts`: the points that have some of them; `moves`: from a part (its name) to the
    stack at an access level, what the leakage did."""

    point: PlannedPoint
    parts: tuple[PlannedPoint, ...]
    moves: dict[tuple[str, str], Move]

    def parts_by_kind(self, level: str) -> dict[str, list[str]]:
        """Names of the parts by what the leakage did from there: "fell", "rose", "same", "" (no change shown)."""
        found: dict[str, list[str]] = {}
        for (part, at), move in self.moves.items():
            if at == level:
                found.setdefault(SAME if move.direction == SAME else move.kind, []).append(part)
        return found


def list_steps(run: RunFolder, point: PlannedPoint) -> tuple[str, ...]:
    """Methods of the links of a point's chain that are no baseline, from the lowest upwards."""
    baselines = {one.defense for one in run.whole.plan.points if one.role == "baseline"}
    ids = (*point.bases, point.defense)
    return tuple(method for one, method in zip(ids, point.chain, strict=True) if one not in baselines)


def list_family(run: RunFolder) -> list[PlannedPoint]:
    """The stacks, their parts and the baselines of their conditions, in the order of the suite; empty without parts."""
    stacks = [stack for stack in list_stacks(run) if stack.parts]
    named = {point.name for stack in stacks for point in (stack.point, *stack.parts)}
    conditions = {stack.point.condition for stack in stacks}
    return [
        point
        for point in run.plan.points
        if point.name in named or (point.role == "baseline" and point.condition in conditions)
    ]


@cache_on_run()
def list_stacks(run: RunFolder) -> list[Stack]:
    """The stacks of a run in the order of the suite; of a plan that tells no chains, none."""
    told = [point for point in run.plan.points if point.is_compared and len(point.chain) == len(point.bases) + 1]
    steps = {point.name: (point.condition, list_steps(run, point)) for point in told}
    counts = Counter(steps.values())
    alone = {steps[point.name]: point for point in told if counts[steps[point.name]] == 1}
    found = []
    for point in told:
        condition, own = steps[point.name]
        some = [kept for size in range(1, len(own)) for kept in combinations(own, size)]
        parts = [alone[condition, kept] for kept in dict.fromkeys(some) if (condition, kept) in alone]
        if len(own) > 1:
            found.append((point, tuple(parts)))
    moves = _test(run, found)
    return [Stack(point, parts, {key[1:]: move for key, move in moves.items() if key[0] == point.name})
            for point, parts in found]  # fmt: skip


def _test(
    run: RunFolder, stacks: list[tuple[PlannedPoint, tuple[PlannedPoint, ...]]]
) -> dict[tuple[str, str, str], Move]:
    """The moves by (stack, part, level), their p values corrected together."""
    found: dict[tuple[str, str, str], Move] = {}
    if list_void_reasons(run):
        return found
    for point, parts in stacks:
        for part in parts:
            for level in TRADEOFF_LEVELS:
                move = compare_leakage(run, *(allowed_records(run, one, level) for one in (part, point)))
                if move is not None and not find_marks(run, point.name) and not find_marks(run, part.name):
                    found[point.name, part.name, level] = move
    tested = {key: move for key, move in found.items() if move.direction != SAME}
    corrected = holm([move.p for move in tested.values()])
    return found | {key: Move(move.direction, p) for (key, move), p in zip(tested.items(), corrected, strict=True)}
