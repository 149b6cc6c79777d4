"""Planned attacks that left no record: without them a worst case is not known to be the worst."""

from __future__ import annotations

from leakbench.results.asked import list_asked
from leakbench.results.record import ACCESS_LEVELS
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint


def list_missing(run: RunFolder, point: PlannedPoint, level: str) -> list[str]:
    """The attacks asked of a point that need a level or less, touch the model, and lack a record at some seed.

    Of an attack without any record in the run nobody knows what it needs: it counts at every level.
    """
    allowed = ACCESS_LEVELS[1 : ACCESS_LEVELS.index(level) + 1]
    known, cells = _index(run)
    found = []
    for attack in list_asked(run, point):
        kinds = known.get(attack)
        asked = {access for family, access in kinds or () if family == "membership" and access in allowed}
        seeds = run.plan.seeds
        if kinds is None or any((point.name, attack, access, seed) not in cells for access in asked for seed in seeds):
            found.append(attack)
    return found


@cache_on_run()
def _index(run: RunFolder) -> tuple[dict[str, set[tuple[str, str]]], set[tuple[str, str, str, int]]]:
    """Family and access levels of each attack, and all cells that have a record."""
    known: dict[str, set[tuple[str, str]]] = {}
    for record in run.records:
        known.setdefault(record.attack, set()).add((record.family, record.access))
    return known, {(record.point, record.attack, record.access, record.seed) for record in run.records}
