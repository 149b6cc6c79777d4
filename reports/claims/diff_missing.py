"""The records that a run's own plan asks for and that are not there, measured by what it and an earlier run have."""

from __future__ import annotations

from collections.abc import Iterator

from leakbench.results.record import QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.points import ACCESS_LEVELS


def list_missing_records(old: RunFolder, new: RunFolder) -> list[str]:
    """ "pia (DENOISER) at baseline seed 0": one for each record that the plan of `new` asks for and that is not in its
    folder, controls among them.

    A plan names points, attacks and seeds. The access levels of an attack at a point are those at which either run
    measured it there; where neither did, it counts once, without a level. An attack that is not applicable leaves a
    record that says so, and is not missing.
    """
    there = {(r.point, r.attack, r.access, r.seed) for r in new.records}
    levels: dict[tuple[str, str], set[str]] = {}
    for record in _with_numbers(old, new):
        levels.setdefault((record.point, record.attack), set()).add(record.access)
    touched = {(point, attack, seed) for point, attack, _, seed in there}
    found = []
    for point in new.plan.points:
        for attack in _list_attacks(new, point, levels):
            known = sorted(levels.get((point.name, attack), ()), key=ACCESS_LEVELS.index)
            for seed in new.plan.seeds:
                where = f"at {point.name} seed {seed}"
                found += [f"{attack} ({a}) {where}" for a in known if (point.name, attack, a, seed) not in there]
                if not known and (point.name, attack, seed) not in touched:
                    found.append(f"{attack} {where}")
    return found


def _with_numbers(old: RunFolder, new: RunFolder) -> Iterator[Record]:
    yield from (record for run in (old, new) for record in run.records if record.metrics)


def _list_attacks(new: RunFolder, point: PlannedPoint, levels: dict[tuple[str, str], set[str]]) -> list[str]:
    """The attacks asked of a point, and the quality; of a plan without attacks, all that either run has there."""
    known = [attack for name, attack in levels if name == point.name]
    if not new.plan.attacks:
        return known
    return [*(attack for attack in known if attack == QUALITY), *new.plan.attacks_at(point)]
