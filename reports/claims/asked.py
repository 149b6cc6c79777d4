"""The attacks that a claim is about at a point, with their records, and those of them that left none."""

from __future__ import annotations

from leakbench.results.asked import list_asked
from leakbench.results.families import FAMILIES
from leakbench.results.record import ACCESS_LEVELS, QUALITY, Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.runtime.errors import UsageError, nearest_name

from .claim import STRONGEST, Claim


def find_attacks(run: RunFolder, claim: Claim, point: PlannedPoint) -> dict[str, list[Record]]:
    """The records of each attack that a claim is about, one a seed, by "attack" or "attack, ACCESS"."""
    own, kinds = _records_at(run).get(point.name, []), _list_kinds(run)
    if claim.attack == STRONGEST:
        chosen = [r for r in own if r.family == "membership" and r.access in _levels(claim)]
    elif claim.attack in FAMILIES:
        chosen = [r for r in own if r.family == claim.attack and r.access in _levels(claim)]
    else:
        chosen = [r for r in own if r.attack == claim.attack]
        if claim.attack not in kinds and claim.attack not in run.plan.attacks:
            names = {*kinds, *run.plan.attacks, STRONGEST, QUALITY, *FAMILIES}
            raise UsageError(name_fault(run, claim, "attack", claim.attack, nearest_name(claim.attack, names)))
        levels = {r.access for r in chosen}
        if not chosen:
            return {}
        if claim.access and claim.access not in levels:
            raise UsageError(name_fault(run, claim, "access", claim.access, nearest_name(claim.access, levels)))
        access = claim.access or min(levels, key=ACCESS_LEVELS.index)
        chosen = [r for r in chosen if r.access == access]
    found: dict[str, list[Record]] = {}
    for record in chosen:
        if record.metrics or len(chosen) == 1:
            found.setdefault(f"{record.attack}, {record.access}", []).append(record)
    if found and not any(record.metric(claim.metric) for records in found.values() for record in records):
        names = {metric.name for records in found.values() for record in records for metric in record.metrics}
        if names:
            raise UsageError(name_fault(run, claim, "metric", claim.metric, nearest_name(claim.metric, names)))
    return {
        name: records
        for name, records in found.items()
        if any(r.metric(claim.metric) or not r.metrics for r in records)
    }


def list_unrecorded(run: RunFolder, claim: Claim, point: PlannedPoint) -> list[str]:
    """The attacks that the plan asks of a point and that left no record there, of those that a claim is about: their
    cell failed, or was never reached. Of an attack without any record in the run nobody knows of which family it is: it
    counts for each."""
    own = {(record.attack, record.access) for record in _records_at(run).get(point.name, [])}
    found = []
    for attack in list_asked(run, point):
        kinds = _list_kinds(run).get(attack, set())
        if claim.attack == STRONGEST or claim.attack in FAMILIES:
            family = "membership" if claim.attack == STRONGEST else claim.attack
            asked = {access for one, access in kinds if one == family} & _levels(claim)
        elif attack == claim.attack:
            levels = {access for _, access in kinds}
            least = min(levels, key=ACCESS_LEVELS.index, default="NONE")
            asked = {claim.access or least} & levels
        else:
            continue
        if not kinds or any((attack, access) not in own for access in asked):
            found.append(attack)
    return found


@cache_on_run()
def _records_at(run: RunFolder) -> dict[str, list[Record]]:
    """The records by point."""
    found: dict[str, list[Record]] = {}
    for record in run.records:
        found.setdefault(record.point, []).append(record)
    return found


@cache_on_run()
def _list_kinds(run: RunFolder) -> dict[str, set[tuple[str, str]]]:
    """Family and access levels of each attack that left a record anywhere."""
    found: dict[str, set[tuple[str, str]]] = {}
    for record in run.records:
        found.setdefault(record.attack, set()).add((record.family, record.access))
    return found


def _levels(claim: Claim) -> set[str]:
    """The access levels of the attacks that a claim on several is about: of the strongest all up to that of the claim,
    of a family just that. Attacks that see no model are none."""
    if claim.attack == STRONGEST:
        return set(ACCESS_LEVELS[1 : ACCESS_LEVELS.index(claim.access or "WEIGHTS") + 1])
    return {claim.access} if claim.access else set(ACCESS_LEVELS[1:])


def name_fault(run: RunFolder, claim: Claim, key: str, value: object, right: str) -> str:
    """A line on a name of a claim that the run lacks; `right` says which it has."""
    return f"claim {claim.name!r}: {key} = {value!r} is not in {run.path}; {right}"
