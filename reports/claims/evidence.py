"""The interval of one metric of one attack at one point, at any level: what a claim is judged by.

AUCs and TPRs are computed from the raw scores at the level asked for, with the sign that the calibration images asked
for: an attack whose members score lower is no harmless one. Other metrics keep the 95 % interval of their record, which
serves any level up to that. Seeds are joined as in all tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isnan, nan

from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, auc, delong_pair, over_seeds, tpr_at_fpr

from ..reading.aggregate import to_estimate
from ..reading.scores import load_groups, load_scores

_KEPT = 0.95  # level of the intervals in records
_RATE = "tpr@fpr="


class NoEvidence(Exception):
    """Raised where the records do not hold an interval of the level that is asked for; the message says why."""


def measure(run: RunFolder, records: Sequence[Record], metric: str, level: float) -> Estimate:
    """A metric over the seeds, one record each, with its interval of a level. Raises NoEvidence."""
    return _measure(run, tuple(_identify(record) for record in records), metric, level)


def measure_difference(
    run: RunFolder, records: Sequence[Record], others: Sequence[Record], metric: str, level: float
) -> Estimate:
    """The metric of some records minus that of others, seed by seed.

    AUCs are compared on the same images (DeLong); other metrics as if they were independent, which is too wide an
    interval for samples that share their seeds. Raises NoEvidence.
    """
    by_seed = {record.seed: record for record in others}
    if {record.seed for record in records} != by_seed.keys():
        raise NoEvidence("the two points have other seeds")
    found = [_subtract(run, _identify(one), _identify(by_seed[one.seed]), metric, level) for one in records]
    joined = over_seeds(found, level)
    return Estimate(joined.mean, joined.low, joined.high, min(one.n for one in found))


_Identity = tuple[str, str, str, int]


def _identify(record: Record) -> _Identity:
    """Point, attack, access and seed: what tells a record from all others of its run."""
    return record.point, record.attack, record.access, record.seed


@lru_cache(maxsize=8)
def _by_identity(run: RunFolder) -> dict[_Identity, Record]:
    return {_identify(record): record for record in run.records}


@lru_cache(maxsize=4096)  # many claims may be about the same records
def _measure(run: RunFolder, records: tuple[_Identity, ...], metric: str, level: float) -> Estimate:
    found = [_measure_one(run, _by_identity(run)[record], metric, level) for record in records]
    joined = over_seeds(found, level, find_metric(metric).bounds)
    return Estimate(joined.mean, joined.low, joined.high, min(one.n for one in found))


def _measure_one(run: RunFolder, record: Record, metric: str, level: float) -> Estimate:
    scores = load_scores(run, record) if record.family == "membership" else None
    if scores is not None and metric == "auc":
        return auc(*scores, level=level, groups=load_groups(run, record))
    if scores is not None and metric.startswith(_RATE):
        found: Estimate = tpr_at_fpr(
            *scores, float(metric.removeprefix(_RATE)), level=level, groups=load_groups(run, record)
        ).estimate
        return found
    kept = to_estimate(record.metric(metric))
    if kept is None:
        raise NoEvidence(f"{metric} of {record.attack} could not be computed")
    if isnan(kept.low) or isnan(kept.high):
        raise NoEvidence(f"{metric} of {record.attack} has no interval")
    if level > _KEPT:
        raise NoEvidence(f"{metric} of {record.attack} has its interval of 95 % alone on record, not {100 * level:g} %")
    return kept


@lru_cache(maxsize=4096)
def _subtract(run: RunFolder, first_one: _Identity, second_one: _Identity, metric: str, level: float) -> Estimate:
    one, other = _by_identity(run)[first_one], _by_identity(run)[second_one]
    first, second = load_scores(run, one), load_scores(run, other)
    if metric == "auc" and first is not None and second is not None:
        if [len(side) for side in first] != [len(side) for side in second]:
            raise NoEvidence("the two points did not score the same images")
        paired: Estimate = delong_pair(*first, *second, level=level, groups=load_groups(run, one)).difference
        return paired
    a, b = (_measure_one(run, record, metric, level) for record in (one, other))
    value = a.value - b.value
    low = value - ((a.value - a.low) ** 2 + (b.high - b.value) ** 2) ** 0.5
    high = value + ((a.high - a.value) ** 2 + (b.value - b.low) ** 2) ** 0.5
    return Estimate(value, low, high, min(a.n, b.n)) if not isnan(value) else Estimate(nan, nan, nan, 0)
