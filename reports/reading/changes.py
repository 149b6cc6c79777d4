"""What moved from no protection to each point of a defense: copies, membership, distance; tested in pairs.

One family a run: every quantity at every point of every defense, corrected together by Holm, so that of defenses that
change nothing, 5 in 100 whole tables say that anything moved. Copies and distances are compared sample by sample
(`comparison.py`). The leakage at an access level has fallen where an attack on the unprotected release, chosen on
calibration images, finds more than every attack of that level does on the protected one (`superiority.py`), and risen
the other way round; both directions are tested, and the p value is twice the smaller.

Implementation choices: over seeds a quantity has moved where it moved at every seed. Not tested, and no part of the
family: what stands on one computation on both sides (`SAME`), points whose rows mean nothing, membership on a void
track.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE
from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import holm, paired_over_seeds

from .comparison import Source, compare_records
from .formatting import format_p
from .marks import find_marks
from .points import find_reference, list_sweeps, measured_levels
from .scores import all_same_computation
from .selection import copy_attacks, quality_records, select_records
from .strongest import allowed_records
from .superiority import SHOWN, shown_above, stands_on_same
from .void import list_void_reasons

DISTANCE = "distance"  # the quantity's name; an access level and an attack on copies are named by themselves
SAME = "same"


@dataclass(frozen=True)
class Move:
    """A tested difference: the direction of what was measured, and its p value, corrected over the run's table.

    direction: "fell", "rose", or `SAME`: the measured is one computation on both sides, and nothing was tested.
    """

    direction: str
    p: float

    @property
    def kind(self) -> str:
        """ "fell", "rose" or "" (no change shown)."""
        return self.direction if self.p < SHOWN else ""


@dataclass(frozen=True)
class Change:
    """A quantity from no protection to a point of a defense; `kind` is "fell", "rose" or "" (no change shown)."""

    kind: str
    words: str


def describe_change(what: str, move: Move | None, before: str, after: str) -> Change:
    """A change in words; the texts are the numbers as they are to be printed. Without a move nothing was tested."""
    if move is None:
        return Change("", f"{what}: not measured on both sides")
    if move.direction == SAME:
        return Change("", f"{what} is the same, number for number: {after}")
    p = f"p {format_p(move.p)}"
    if move.kind:
        return Change(move.kind, f"{what} {move.kind} from {before} to {after} ({p})")
    return Change("", f"{what}: no change was shown, from {before} to {after} ({p})")


def find_move(run: RunFolder, point: PlannedPoint, quantity: str) -> Move | None:
    """The move of a quantity at a point: `DISTANCE`, an access level, or an attack on copies; None if not tested."""
    return _find_moves(run).get((point.name, quantity))


@cache_on_run()
def _find_moves(run: RunFolder) -> dict[tuple[str, str], Move]:
    found: dict[tuple[str, str], Move] = {}
    for point in (point for sweep in list_sweeps(run).values() for point in sweep):
        start = find_reference(run, point)
        if start is not None and start != point and not find_marks(run, point.name):
            found |= {(point.name, quantity): move for quantity, move in _test(run, start, point).items()}
    tested = {name: move for name, move in found.items() if move.direction != SAME}
    corrected = holm([move.p for move in tested.values()])
    return found | {name: Move(move.direction, p) for (name, move), p in zip(tested.items(), corrected, strict=True)}


def _test(run: RunFolder, start: PlannedPoint, point: PlannedPoint) -> dict[str, Move]:
    """The moves of all quantities of a point, each with its own p value."""
    found = {DISTANCE: _compare(run, quality_records(run, start), quality_records(run, point), HELDOUT_DISTANCE)}
    for attack in copy_attacks(run):
        before, after = (select_records(run, one, "replication", attack) for one in (start, point))
        found[attack] = _compare(run, before, after, COPY_EXCESS)
    if not list_void_reasons(run):
        for level in measured_levels(run):
            found[level] = compare_leakage(run, allowed_records(run, start, level), allowed_records(run, point, level))
    return {name: move for name, move in found.items() if move is not None}


def _compare(run: RunFolder, before: list[Record], after: list[Record], metric: str) -> Move | None:
    by_seed = {record.seed: record for record in before}
    if not after or by_seed.keys() != {r.seed for r in after}:
        return None
    if all_same_computation(after, before):
        return Move(SAME, 1.0)
    pairs = [compare_records(Source(run, r), Source(run, by_seed[r.seed]), metric) for r in after]
    known = [pair.found for pair in pairs if pair is not None and not isnan(pair.found.p_value)]
    if len(known) < len(pairs):
        return None
    joined = paired_over_seeds(known)
    return Move("fell" if joined.difference.value < 0 else "rose", joined.p_value)


def compare_leakage(run: RunFolder, before: list[Record], after: list[Record]) -> Move | None:
    """The move of the leakage from one point's attacks at a level to another's, its p value uncorrected; None where one
    of them has no attacks."""
    if not before or not after:
        return None
    if stands_on_same(before, after):
        return Move(SAME, 1.0)
    fell, rose = shown_above(run, before, after), shown_above(run, after, before)
    return Move("fell" if fell <= rose else "rose", min(1.0, 2 * min(fell, rose)))
