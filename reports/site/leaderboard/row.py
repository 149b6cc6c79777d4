"""A row: one point of one run at one access level, and why it does not rank, where it does not.

The worst case is that of `reading.strongest`; a verified counter-evaluation that finds more takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, isnan, nan

from leakbench.results.metric_specs import COPY_EXCESS, DISTANCE_FLOOR, HELDOUT_DISTANCE
from leakbench.results.record import AccessName, Record
from leakbench.results.run_plan import PlannedPoint
from leakbench.results.verified import (
    RANKING_METRIC,
    CheckedSubmission,
    CounterEvaluation,
    RowState,
    VerifiedFile,
    row_state,
)
from leakbench.statistics import Summary

from ...reading.aggregate import Aggregate, aggregate
from ...reading.changes import SAME, find_move
from ...reading.costs import Cost, find_cost
from ...reading.distances import aggregate_distance
from ...reading.guarantees import StatedGuarantee, find_guarantee
from ...reading.leakage import collect_leak
from ...reading.marks import find_marks
from ...reading.metric_flags import read_flags
from ...reading.selection import copy_attacks, quality_records, select_records
from ...reading.strongest import strongest, strongest_by_rate
from ...reading.void import list_void_reasons
from .missing import list_missing
from .results import Submitted

SELF_REPORTED: RowState = "self-reported"

_REFERENCES = {  # roles that have no rank
    "baseline": "reference: what defenses are compared with",
    "control": "control",
    "ablation": "ablation: a defense without one of its parts",
}


@dataclass(frozen=True)
class Row:
    """A row of a track. Numbers are over the seeds, None where nothing was measured.

    attack, auc: the worst case, an attack of the run or of `counter`. rate_attack: whose the TPR is, where that is
    another one. chosen: the records of the run's strongest attack, one a seed. move: of the leakage from the baseline
    of its run, "fell", "rose", "same" (number for number) or "" (no change shown, or not tested). unranked: why it
    has no rank; empty where it has one. also: the rows of other runs that hold the same release.
    """

    entry: Submitted
    point: PlannedPoint
    access: AccessName
    attack: str
    auc: Summary | None
    tpr: Summary | None
    rate_attack: str
    chosen: tuple[Record, ...]
    counter: CounterEvaluation | None
    distance: Aggregate | None
    floor: Aggregate | None
    copies: dict[str, Aggregate | None]
    cost: Cost
    epsilon: str
    epsilon_value: float
    adjacency: str
    flags: tuple[str, ...]
    state: RowState
    move: str
    unranked: str
    also: tuple[Row, ...] = ()

    @property
    def entries(self) -> list[Submitted]:
        """The runs that hold its release, that of the row first."""
        return [self.entry, *(row.entry for row in self.also)]

    @property
    def leak(self) -> float:
        """The distance of the worst case's AUC from 1/2; infinite without one."""
        return abs(self.auc.mean - 0.5) if self.auc else inf

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval of `leak`; all of [0, 1/2] where there is none."""
        if self.auc is None or isnan(self.auc.low) or isnan(self.auc.high):
            return 0.0, 0.5
        sides = abs(self.auc.low - 0.5), abs(self.auc.high - 0.5)
        return (0.0 if self.auc.low <= 0.5 <= self.auc.high else min(sides)), max(sides)

    @property
    def queries(self) -> float:
        """Calls an image of the worst case; of several attacks the most."""
        if self.counter is not None:
            return self.counter.queries
        return max((record.queries for record in self.chosen), default=nan)


def _of_what(guarantee: StatedGuarantee) -> str:
    """The adjacency of a guarantee, and its unit where that is no single image."""
    return ", by ".join(filter(None, [guarantee.adjacency, guarantee.unit if guarantee.unit != "image" else ""]))


def build_row(entry: Submitted, point: PlannedPoint, access: AccessName, verified: VerifiedFile) -> Row:
    """Read a row from the records. verified: the checked submissions; an empty file where none was given."""
    run = entry.run
    found, rated = strongest(run, point, access), strongest_by_rate(run, point, access)
    leak = collect_leak(run, found.values(), rated.values())
    auc, checked = leak.auc.summary if leak.auc else None, verified.find(entry.digest)
    state = row_state(checked, point.name, access, _lower_bound(auc))
    counter = checked.strongest_counter(point.name, access) if checked and state == "best external" else None
    quality, guarantee = quality_records(run, point), find_guarantee(run, point)
    copies = {attack: select_records(run, point, "replication", attack) for attack in copy_attacks(run)}
    shown = [*quality, *found.values(), *rated.values(), *(record for records in copies.values() for record in records)]
    epsilon = guarantee.epsilon
    return Row(
        entry=entry,
        point=point,
        access=access,
        attack=f"{counter.attack} (counter-evaluation)" if counter else leak.attack,
        auc=_counted(counter) if counter else auc,
        tpr=None if counter or not leak.tpr else leak.tpr.summary,
        rate_attack="" if counter else leak.rate_attack,
        chosen=tuple(found.values()),
        counter=counter,
        distance=aggregate(quality, HELDOUT_DISTANCE),
        floor=aggregate_distance(quality, DISTANCE_FLOOR),
        copies={copy_attacks(run)[attack]: aggregate(records, COPY_EXCESS) for attack, records in copies.items()},
        cost=find_cost(run, point),
        epsilon="lost" if guarantee.void else "" if epsilon is None else f"{epsilon:.3g}",
        epsilon_value=nan if epsilon is None or not isfinite(epsilon) else epsilon,
        adjacency=_of_what(guarantee) if epsilon else "",
        flags=tuple(sorted({flag for record in shown for flag in read_flags(run, record, run.plan.headline)})),
        state=state,
        move="" if counter else _find_move(entry, point, access),
        unranked=_find_reason(entry, point, access, auc, checked),
    )


def _find_reason(
    entry: Submitted, point: PlannedPoint, access: AccessName, auc: Summary | None, checked: CheckedSubmission | None
) -> str:
    """Why a row has no rank; the first that applies."""
    run = entry.run
    if void := list_void_reasons(run):
        return f"void: {'; '.join(reason.words for reason in void)}"
    if checked and checked.status != "agrees":
        faults = checked.disagreements or ("its controls misbehave",)
        return f"unreliable: the check of this submission says: {faults[0]}"
    if point.role != "defense":
        return _REFERENCES[point.role]
    if marks := find_marks(run, point.name):
        return "; ".join(f"{mark.flag.value}: {mark.words}" for mark in marks)
    if missing := list_missing(run, point, access):
        return f"incomplete: no record of {', '.join(missing)} at every seed"
    return "" if auc else "not measured: no attack that can be ranked"


def _find_move(entry: Submitted, point: PlannedPoint, access: AccessName) -> str:
    move = find_move(entry.run, point, access)
    return "" if move is None else SAME if move.direction == SAME else move.kind


def _lower_bound(auc: Summary | None) -> float:
    return 0.0 if auc is None or isnan(auc.low) else auc.low


def _counted(counter: CounterEvaluation) -> Summary | None:
    """The AUC of a counter-evaluation, of one seed."""
    found = counter.metric(RANKING_METRIC) or counter.metric("auc")
    if found is None or found.value is None:
        return None
    low, high = (nan if bound is None else bound for bound in (found.ci_low, found.ci_high))
    return Summary(found.value, low, high, found.value, found.value, 1)
