"""The strongest attack of a point as the report has it, and all that it was chosen from, for a claim to be judged by.

AUCs and the suite's headline TPR have intervals that hold for the whole release together (`reading.family`), at the
claim's confidence; at 0.95 they are those of the trade-off and the verdicts. The attack, or one a seed, is the one
that stands there (`reading.strongest`), at whatever confidence. Other metrics, and differences, are in no report's
family: claims on those are corrected for the number of attacks (judge.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Estimate

from ..reading.family import find_corrected, find_target
from ..reading.leakage import join_names
from ..reading.strongest import strongest, strongest_by_rate
from .claim import STRONGEST, Claim
from .evidence import Measured, NoEvidence, join_seeds, plain_name


@dataclass(frozen=True)
class Together:
    """The strongest attack with its name in tables, its interval and that of each attack that it was chosen from;
    `level`: the one of each interval of a seed, so that all hold together."""

    named: str
    strongest: Measured
    each: dict[str, Measured]
    level: float


def is_in_family(run: RunFolder, claim: Claim) -> bool:
    """Tell whether a claim is on the strongest attack by a metric whose intervals hold together in the report."""
    rate = find_target(run)
    kept = {"auc", *([run.plan.headline] if 0 < rate < 1 else [])}
    return claim.attack == STRONGEST and not claim.against and plain_name(claim.metric) in kept


def measure_strongest(run: RunFolder, claim: Claim, point: PlannedPoint, attacks: dict[str, list[Record]]) -> Together:
    """The strongest of the attacks that a claim is about, at its access level. Raises NoEvidence where an attack has
    no such interval: it might be the strongest."""
    plain = plain_name(claim.metric)
    choose = strongest if plain == "auc" else strongest_by_rate
    chosen = list(choose(run, point, claim.access or "WEIGHTS").values())
    each = {name: _measure(run, claim, plain, records) for name, records in attacks.items()}
    corrected = (find_corrected(run, r, claim.confidence) for records in attacks.values() for r in records)
    level = max(one.level for one in corrected if one is not None)
    return Together(join_names(chosen), _measure(run, claim, plain, chosen), each, level)


def _measure(run: RunFolder, claim: Claim, plain: str, records: Iterable[Record]) -> Measured:
    found = [_find_interval(run, claim, plain, record) for record in sorted(records, key=lambda r: r.seed)]
    return join_seeds(found, claim.confidence, claim.metric)


def _find_interval(run: RunFolder, claim: Claim, plain: str, record: Record) -> Estimate:
    corrected = find_corrected(run, record, claim.confidence)
    found = None if corrected is None else corrected.auc if plain == "auc" else corrected.tpr
    if found is None:
        raise NoEvidence(f"{claim.metric} of {record.attack} could not be computed")
    if isnan(found.low) or isnan(found.high):
        raise NoEvidence(f"{claim.metric} of {record.attack} has no interval")
    return found
