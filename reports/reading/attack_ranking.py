"""Ranking of the membership attacks at a point, and which of them a table shows.

Attacks are ranked by what they show at the least, the corrected lower bound of their AUC (`family.py`).
`rank_on_calibration` is for tests of one attack against another, of which the reported images may choose none.
"""

from __future__ import annotations

from collections.abc import Callable

from leakbench.results.record import ACCESS_LEVELS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .attack_results import AttackResult, group_records, list_results
from .family import find_corrected
from .points import find_baseline, find_reference
from .scores import all_same_computation
from .strongest import calibration_strength

MANY = 16  # points: of more, those that crowded figures show


def rank_results(run: RunFolder, point: PlannedPoint) -> list[AttackResult]:
    """Results of all attacks of a point, by access level and then the strongest first."""
    return _rank(run, point, lambda row: find_least(run, row))


def rank_on_calibration(run: RunFolder, point: PlannedPoint) -> list[AttackResult]:
    """The same by the strength on calibration images."""
    return _rank(run, point, calibrated_strength)


def find_least(run: RunFolder, row: AttackResult) -> float:
    """The corrected lower bound of an AUC, mean over the seeds; below 0 where there is none."""
    found = [one.least for record in row.records if (one := find_corrected(run, record)) is not None]
    return sum(found) / len(found) if found else -1.0


def calibrated_strength(row: AttackResult) -> float:
    """|calibration AUC - 1/2|, mean over the seeds; below 0 where there is none."""
    found = [one for record in row.records if (one := calibration_strength(record)) is not None]
    return sum(found) / len(found) if found else -1.0


def _rank(run: RunFolder, point: PlannedPoint, strength: Callable[[AttackResult], float]) -> list[AttackResult]:
    found = list_results(run, point, "membership")
    return sorted(found, key=lambda row: (ACCESS_LEVELS.index(row.access), -round(strength(row), 12), row.attack))


def repeats_reference(run: RunFolder, row: AttackResult) -> bool:
    """True if the result is, number for number, that of the point that this one is compared with."""
    start = find_reference(run, row.point)
    if start is None or start == row.point:
        return False
    return all_same_computation(row.records, group_records(run, start, "membership").get((row.attack, row.access), []))


def baseline_points(run: RunFolder) -> list[PlannedPoint]:
    """Points of role baseline, or else the one that defenses are compared with."""
    first = find_baseline(run)
    return [p for p in run.plan.points if p.role == "baseline"] or [p for p in run.plan.points if p == first]
