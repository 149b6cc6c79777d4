"""Attacks that stand at the access levels of a point: the rows that tables and verdicts call the strongest.

At a level stands, seed by seed, what `strongest` and `strongest_by_rate` choose, as in the trade-off. Levels at which
the same computations stand share a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .attack_ranking import rank_results, repeats_reference
from .attack_results import AttackResult
from .leakage import Leak, collect_leak
from .points import measured_levels
from .scores import same_computation
from .strongest import strongest, strongest_by_rate


@dataclass(frozen=True)
class Standing:
    """The records that stand at access levels of a point for each seed, by AUC and by TPR."""

    point: PlannedPoint
    levels: tuple[str, ...]
    by_auc: dict[int, Record]
    by_rate: dict[int, Record]

    @property
    def records(self) -> list[Record]:
        """All of them; one that stands by both is among them twice."""
        return [*self.by_auc.values(), *self.by_rate.values()]

    @property
    def queries(self) -> float:
        """Network calls an image; where different attacks stand, those of the one that takes most."""
        counts: dict[str, list[float]] = {}
        for record in self.records:
            counts.setdefault(record.attack, []).append(record.queries)
        return max(sum(each) / len(each) for each in counts.values())

    def is_same(self, other: Standing) -> bool:
        """True if the same computations stand."""
        return _match(self.by_auc, other.by_auc) and _match(self.by_rate, other.by_rate)

    def collect(self, run: RunFolder) -> Leak:
        """Their leak."""
        return collect_leak(run, self.by_auc.values(), self.by_rate.values())


def find_standing(run: RunFolder, point: PlannedPoint, level: str) -> Standing:
    """The records that stand at one level; none where no attack was measured."""
    return Standing(point, (level,), strongest(run, point, level), strongest_by_rate(run, point, level))


def read_leak(run: RunFolder, point: PlannedPoint, level: str) -> Leak:
    """The leak at one level: the strongest attack by AUC, with its AUC, and the strongest by TPR, with its TPR. Every
    table, verdict and sentence that says "the strongest" reads it here."""
    return find_standing(run, point, level).collect(run)


def list_standings(run: RunFolder, point: PlannedPoint) -> list[Standing]:
    """What stands at each level above none that some attack of the run needs, from the least access up."""
    found: list[Standing] = []
    for level in measured_levels(run):
        standing = find_standing(run, point, level)
        if found and found[-1].is_same(standing):
            found[-1] = replace(found[-1], levels=(*found[-1].levels, level))
        elif standing.by_auc:
            found.append(standing)
    return found


def list_standings_and_adaptive(run: RunFolder, point: PlannedPoint) -> list[Standing]:
    """The same, and the attacks that know the defense, each at the least access: but for those that stand already, and
    those that meet no defense."""
    found = list_standings(run, point)
    adaptive: dict[str, AttackResult] = {}
    for row in rank_results(run, point):
        if row.adaptive and not repeats_reference(run, row):
            adaptive.setdefault(row.attack, row)
    others = [stand_alone(row) for row in adaptive.values()]
    return found + [one for one in others if not any(one.is_same(standing) for standing in found)]


def stand_alone(row: AttackResult) -> Standing:
    """One attack, whatever else stands at its level."""
    records = {record.seed: record for record in row.records}
    return Standing(row.point, (row.access,), records, records)


def _match(first: dict[int, Record], second: dict[int, Record]) -> bool:
    return first.keys() == second.keys() and all(
        first[seed].attack == second[seed].attack and same_computation(first[seed], second[seed]) for seed in first
    )
