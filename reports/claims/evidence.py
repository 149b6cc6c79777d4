"""The interval of one metric of one attack at one point, at any level: what a claim is judged by.

AUCs and TPRs are computed from the raw scores at the level asked for, with the sign that the calibration images asked
for: an attack whose members score lower is no harmless one. Other metrics keep the 95 % interval of their record, which
serves any level up to that. Seeds are joined as in all tables. Differences to another point are taken in pairs
(`reading.comparison`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan

from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, auc, fewer_groups, independent_difference, over_seeds, tpr_at_fpr

from ..reading.comparison import Source, compare_records, read_metric
from ..reading.scores import load_groups, load_scores
from ..reading.selection import Identity, find_record, identify

_KEPT = 0.95  # level of the intervals in records
_RATE, _ORIENTED = "tpr@fpr=", "oriented_"


@dataclass(frozen=True)
class Measured:
    """A metric `joined` over the seeds, and `by_seed`: each seed's own, in their order."""

    joined: Estimate
    by_seed: tuple[Estimate, ...]

    @property
    def parts(self) -> tuple[Estimate, ...]:
        """The intervals that all have to lie within bounds for the joined one to: of two seeds, whose interval is the
        envelope, that of each."""
        return self.by_seed if len(self.by_seed) < 3 else (self.joined,)


class NoEvidence(Exception):
    """Raised where the records do not hold an interval of the level that is asked for; the message says why."""


def plain_name(metric: str) -> str:
    """A metric's name without the word for the sign that calibration asked for, with which all are read here."""
    return metric.removeprefix(_ORIENTED)


def join_seeds(found: Sequence[Estimate], level: float, metric: str = "") -> Measured:
    """One estimate a seed, with their interval of a level, cut to the range of a metric if one is named."""
    bounds = find_metric(metric).bounds if metric else (-inf, inf)
    joined = over_seeds(found, level, bounds)
    count, groups = min(one.n for one in found), fewer_groups(*found)
    return Measured(Estimate(joined.mean, joined.low, joined.high, count, groups), tuple(found))


def measure(run: RunFolder, records: Sequence[Record], metric: str, level: float) -> Measured:
    """A metric over the seeds, one record each, with its interval of a level. Raises NoEvidence."""
    return _measure(run, tuple(identify(record) for record in records), metric, level)


def measure_difference(
    run: RunFolder, records: Sequence[Record], others: Sequence[Record], metric: str, level: float
) -> Measured:
    """The metric of some records minus that of others, seed by seed, in pairs wherever they share images or sample
    seeds (`reading.comparison`). Raises NoEvidence."""
    by_seed = {record.seed: record for record in others}
    if {record.seed for record in records} != by_seed.keys():
        raise NoEvidence("the two points have other seeds")
    found = [_subtract(run, identify(one), identify(by_seed[one.seed]), metric, level) for one in records]
    return join_seeds(found, level)


@cache_on_run()  # many claims may be about the same records
def _measure(run: RunFolder, records: tuple[Identity, ...], metric: str, level: float) -> Measured:
    return join_seeds([_measure_one(run, find_record(run, record), metric, level) for record in records], level, metric)


def _measure_one(run: RunFolder, record: Record, metric: str, level: float) -> Estimate:
    scores, plain = load_scores(run, record) if record.family == "membership" else None, plain_name(metric)
    if scores is not None and plain == "auc":
        return auc(*scores, level=level, groups=load_groups(run, record))
    if scores is not None and plain.startswith(_RATE):
        rate = float(plain.removeprefix(_RATE))
        found: Estimate = tpr_at_fpr(*scores, rate, level=level, groups=load_groups(run, record)).estimate
        return found
    kept = read_metric(record, metric)
    if kept is None:
        raise NoEvidence(f"{metric} of {record.attack} could not be computed")
    if plain.startswith("epsilon_lower"):
        raise NoEvidence(f'{metric} is a lower bound: claim the epsilon that is stated, attack = "guarantee"')
    if isnan(kept.low) or isnan(kept.high):
        raise NoEvidence(f"{metric} of {record.attack} has no interval")
    if level > _KEPT:
        raise NoEvidence(f"{metric} of {record.attack} has its interval of 95 % alone on record, not {100 * level:g} %")
    return kept


@cache_on_run()
def _subtract(run: RunFolder, first_one: Identity, second_one: Identity, metric: str, level: float) -> Estimate:
    one, other = find_record(run, first_one), find_record(run, second_one)
    compared = compare_records(Source(run, one), Source(run, other), metric, level)
    if compared is not None and compared.paired:
        return compared.found.difference
    first, second = (_measure_one(run, record, metric, level) for record in (one, other))
    return independent_difference(first, second).difference
