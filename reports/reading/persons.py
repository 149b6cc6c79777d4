"""People rather than pictures: what the strongest attacks show of images, of persons, and of these by other images."""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .leakage import Leak, collect_leak
from .points import measured_levels
from .strongest import strongest, strongest_by_rate

UNITS = ("image", "person", "identity")  # of records: what an attack is asked about


@dataclass(frozen=True)
class UnitLeaks:
    """A point at access levels at which the same attacks stand: the leak by each unit that was asked about."""

    point: PlannedPoint
    levels: tuple[str, ...]
    by_unit: dict[str, Leak]


def list_unit_leaks(run: RunFolder) -> list[UnitLeaks]:
    """The points whose attacks were asked about persons, from the least access up; none of other runs."""
    if not any(record.unit != "image" for record in run.records):
        return []
    found: list[UnitLeaks] = []
    for point in run.plan.points:
        for level in measured_levels(run):
            leaks = {unit: _collect(run, point, level, unit) for unit in UNITS}
            known = {unit: leak for unit, leak in leaks.items() if leak.auc is not None}
            if not any(unit in known for unit in UNITS[1:]):
                continue
            if found and found[-1].point == point and found[-1].by_unit == known:
                found[-1] = UnitLeaks(point, (*found[-1].levels, level), known)
            else:
                found.append(UnitLeaks(point, (level,), known))
    return found


def count_persons(run: RunFolder, unit: str) -> int:
    """The persons on the side with fewer, of the records that ask a question about them; 0 without any."""
    found = [record.metric("auc") for record in run.records if record.unit == unit]
    return min((one.n for one in found if one is not None), default=0)


def _collect(run: RunFolder, point: PlannedPoint, level: str, unit: str) -> Leak:
    chosen, rated = (
        choose(run, point, level, lambda record: record.unit == unit) for choose in (strongest, strongest_by_rate)
    )
    return collect_leak(run, chosen.values(), rated.values())
