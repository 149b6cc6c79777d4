"""Results of one attack at one access level of a point, one record a seed: a row of most tables."""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import holm

from .aggregate import Aggregate, aggregate
from .scores import all_same_computation
from .selection import select_records


@dataclass(frozen=True)
class AttackResult:
    """Records with metrics of one attack at one access level of a point, one a seed."""

    point: PlannedPoint
    attack: str
    access: str
    records: tuple[Record, ...]

    @property
    def adaptive(self) -> bool:
        """The attack was made against the defense, and knows how that works."""
        return any(record.adaptive for record in self.records)

    def aggregate(self, metric: str) -> Aggregate | None:
        """A metric over the seeds."""
        return aggregate(self.records, metric)

    def fact(self, name: str) -> int:
        """A number that the records tell of the attack, the largest of the seeds'; 0 where they do not."""
        return max(int(record.info.get(name) or 0) for record in self.records)

    def p_value(self, name: str) -> float | None:
        """The largest p value of that name in the records: that of "so at some seed". None where a seed tells none."""
        found = [record.info.get(name) for record in self.records]
        known = [float(p) for p in found if isinstance(p, int | float)]
        return max(known) if len(known) == len(found) else None


def list_results(run: RunFolder, point: PlannedPoint, family: str) -> list[AttackResult]:
    """Results of a point, by attack and from the least access up.

    A computation that is on record for two access levels is listed once, at the lower.
    """
    groups = group_records(run, point, family)
    found = []
    for attack, access in sorted(groups, key=lambda key: (key[0], ACCESS_LEVELS.index(key[1]))):
        records = groups[attack, access]
        lower = [groups.get((attack, level), []) for level in ACCESS_LEVELS[: ACCESS_LEVELS.index(access)]]
        if not any(all_same_computation(records, others) for others in lower):
            found.append(AttackResult(point, attack, access, tuple(records)))
    return found


def group_records(run: RunFolder, point: PlannedPoint, family: str) -> dict[tuple[str, str], list[Record]]:
    """Records of the seeds by attack and access level, with those that repeat a computation."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in select_records(run, point, family):
        if record.metrics:
            groups.setdefault((record.attack, record.access), []).append(record)
    return groups


def adjust_p_values(found: list[float | None]) -> list[float | None]:
    """Adjust p values by Holm, over those that there are."""
    known = iter(holm([p for p in found if p is not None]))
    return [None if p is None else next(known) for p in found]
