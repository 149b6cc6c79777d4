"""Ranking of the membership attacks at a point, and which of them a table shows.

Attacks are ranked by their strength on calibration images, so that the reported ones stay untouched by the choice.
"""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .attack_results import AttackResult, group_records, list_results
from .points import ACCESS_LEVELS, find_baseline, find_reference
from .scores import all_same_computation
from .strongest import calibration_strength

MANY = 16  # points: of more, those that crowded figures show


def strength(row: AttackResult) -> float:
    """|calibration AUC - 1/2|, mean over the seeds; below 0 where there is none."""
    found = [one for record in row.records if (one := calibration_strength(record)) is not None]
    return sum(found) / len(found) if found else -1.0


def rank_results(run: RunFolder, point: PlannedPoint) -> list[AttackResult]:
    """Results of all attacks of a point, by access level and then the strongest first."""
    found = list_results(run, point, "membership")
    return sorted(found, key=lambda row: (ACCESS_LEVELS.index(row.access), -strength(row), row.attack))


def repeats_reference(run: RunFolder, row: AttackResult) -> bool:
    """True if the result is, number for number, that of the point that this one is compared with."""
    start = find_reference(run, row.point)
    if start is None or start == row.point:
        return False
    return all_same_computation(row.records, group_records(run, start, "membership").get((row.attack, row.access), []))


def top_attacks(run: RunFolder, rows: list[AttackResult]) -> list[AttackResult]:
    """The strongest of each access level above none, and every attack that knows the defense, once; of one point."""
    found: dict[str, AttackResult] = {}
    for row in rows:
        if row.adaptive:
            found.setdefault(row.attack, row)  # asked of the raw network in the same way, it meets no defense
        elif row.access != "NONE":
            found.setdefault(row.access, row)
    return list(found.values())


def baseline_points(run: RunFolder) -> list[PlannedPoint]:
    """Points of role baseline, or else the one that defenses are compared with."""
    first = find_baseline(run)
    return [p for p in run.plan.points if p.role == "baseline"] or [p for p in run.plan.points if p == first]
