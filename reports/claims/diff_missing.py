"""The records that a run's own plan asks for and that are not there, measured by what it and an earlier run have."""

from __future__ import annotations

from leakbench.results.asked import list_asked
from leakbench.results.record import ACCESS_LEVELS, QUALITY
from leakbench.results.run_folder import RunFolder


def list_missing_records(old: RunFolder, new: RunFolder) -> list[str]:
    """ "pia (DENOISER) at baseline seed 0": one for each record that the plan of `new` asks for and that is not in its
    folder, controls among them.

    A plan names points, attacks and seeds. An attack leaves a record at each of its access levels, also where it is not
    applicable; its levels are those at which either run has one of it. Where neither has, it counts once, without a
    level. Of a plan of an earlier version, which names no attacks, those count that either run has at the point.
    """
    there = {(r.point, r.attack, r.access, r.seed) for r in new.records}
    levels: dict[str, set[str]] = {}
    at_point: dict[str, dict[str, None]] = {}
    for record in (*old.records, *new.records):
        levels.setdefault(record.attack, set()).add(record.access)
        at_point.setdefault(record.point, {})[record.attack] = None
    quality = [QUALITY] if QUALITY in levels else []
    found = []
    for point in new.plan.points:
        asked = [*quality, *list_asked(new, point)] if new.plan.attacks else at_point.get(point.name, {})
        for attack in asked:
            known = sorted(levels.get(attack, ()), key=ACCESS_LEVELS.index)
            for seed in new.plan.seeds:
                where = f"at {point.name} seed {seed}"
                found += [f"{attack} ({a}) {where}" for a in known if (point.name, attack, a, seed) not in there]
                found += [] if known else [f"{attack} {where}"]
    return found
