"""Comparison of one metric of two records, in pairs wherever they share images or sample seeds.

- membership: AUCs by DeLong, TPRs by their influence functions, where both scored the same rows of the data set. At
  either the sign is the one that the calibration images asked for; where the AUC's interval still lies below 1/2, the
  other one: it leaks as much as it lies below, and may not pass for protection
- replication: copy rates by McNemar, where sample i of both came from the same seed, and threshold and null are those
  of the same real images. The excess over the null then differs as the rate does, since the null is the same
- quality: by the share that each sample and each real image has in the metric, where the record keeps them

All else is compared as if it had nothing in common, which is too wide for what does. `paired` says which it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.metric_specs import COPY_EXCESS, DISTANCE_FLOOR
from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.share_arrays import find_shares
from leakbench.statistics import (
    Estimate,
    PairedDifference,
    auc,
    delong_pair,
    independent_difference,
    paired_by_shares,
    proportion_pair,
    tpr_pair,
)

from .aggregate import to_estimate
from .scores import GROUPS, find_groups, load_scores
from .selection import Identity, find_record, identify

if TYPE_CHECKING:
    import numpy as np

    _Sides = tuple[np.ndarray, np.ndarray]

_RATE = "tpr@fpr="
_ORIENTED = "oriented_"
_COPIES = {"copy_rate": "threshold", COPY_EXCESS: "threshold"}
_COPIES |= {"copy_rate_published": "published_threshold", "copy_rate_published_excess": "published_threshold"}
_ROWS = ("member_rows", "nonmember_rows")


@dataclass(frozen=True)
class Source:
    """A record and the run that it is of."""

    run: RunFolder
    record: Record


@dataclass(frozen=True)
class Comparison:
    """A metric of one record less that of another; `paired` where they were compared unit by unit."""

    found: PairedDifference
    paired: bool


def compare_records(first: Source, second: Source, metric: str, level: float = 0.95) -> Comparison | None:
    """The metric of `first` less that of `second`; None where one of them has no value.

    Unpaired, the interval is the one of 95 % whatever the `level`, and NaN where a record has none.
    """
    compare = {"membership": _pair_scores, "replication": _pair_copies, "quality": _pair_quality}
    by_family = compare.get(first.record.family)
    if by_family is not None and first.record.seed == second.record.seed:
        found = by_family(first, second, metric, level)
        if found is not None:
            return Comparison(found, True)
    one, other = (read_metric(source.record, metric) for source in (first, second))
    if one is None or other is None:
        return None
    return Comparison(independent_difference(_turn(one, metric), _turn(other, metric)), False)


def read_metric(record: Record, metric: str) -> Estimate | None:
    """A metric as recorded, a membership metric with the sign that calibration asked for where that is on record."""
    plain = metric.removeprefix(_ORIENTED)
    return to_estimate(record.metric(_ORIENTED + plain)) or to_estimate(record.metric(metric))


@cache_on_run(128)  # an attack is compared with all others
def _load_leaking_scores(run: RunFolder, identity: Identity) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores of members and nonmembers with the sign that leaks: that of the calibration images, and the other one
    where the interval of the AUC lies below 1/2; None where they were not kept."""
    record = find_record(run, identity)
    scores = load_scores(run, record)
    if scores is None or auc(*scores, groups=_load_units(run, identity)[1]).high >= 0.5:
        return scores
    return -scores[0], -scores[1]


def _turn(found: Estimate, metric: str) -> Estimate:
    """An AUC whose interval lies below 1/2, read the other way round; all else as it is."""
    if metric.removeprefix(_ORIENTED) != "auc" or not found.high < 0.5:
        return found
    return Estimate(1 - found.value, 1 - found.high, 1 - found.low, found.n, found.groups)


def _pair_scores(first: Source, second: Source, metric: str, level: float) -> PairedDifference | None:
    plain = metric.removeprefix(_ORIENTED)
    if plain != "auc" and not plain.startswith(_RATE):
        return None
    sides = [_load_leaking_scores(source.run, identify(source.record)) for source in (first, second)]
    if sides[0] is None or sides[1] is None:
        return None
    (rows, groups), (its, _) = (_load_units(source.run, identify(source.record)) for source in (first, second))
    if rows is not None and its is not None:
        same = all(_equal(*pair) for pair in zip(rows, its, strict=True))
    else:  # as many images of the same run
        same = first.run.path == second.run.path and [*map(len, sides[0])] == [*map(len, sides[1])]
    if not same:
        return None
    if plain == "auc":
        return delong_pair(*sides[0], *sides[1], level=level, groups=groups)
    return tpr_pair(*sides[0], *sides[1], float(plain.removeprefix(_RATE)), level=level, groups=groups)


@cache_on_run(128)
def _load_units(run: RunFolder, identity: Identity) -> tuple[_Sides | None, _Sides | None]:
    """Rows of the data set, and groups, that the members and nonmembers of a record have; None where not on record."""
    arrays = run.arrays(find_record(run, identity), only=(*_ROWS, *GROUPS))
    rows = (arrays[_ROWS[0]], arrays[_ROWS[1]]) if all(name in arrays for name in _ROWS) else None
    return rows, find_groups(arrays)


def _pair_copies(first: Source, second: Source, metric: str, level: float) -> PairedDifference | None:
    if metric not in _COPIES:
        return None
    one, other = (source.run.arrays(source.record) for source in (first, second))
    limit, its = (source.record.info.get(_COPIES[metric]) for source in (first, second))
    null = "null_similarity"
    if limit is None or limit != its or null not in one or null not in other or not _equal(one[null], other[null]):
        return None
    if len(one["similarity"]) != len(other["similarity"]):
        return None
    return proportion_pair(one["similarity"] >= limit, other["similarity"] >= limit, level)


def _pair_quality(first: Source, second: Source, metric: str, level: float) -> PairedDifference | None:
    ours, theirs = (find_shares(source.run.arrays(source.record), metric) for source in (first, second))
    one, other = (to_estimate(source.record.metric(metric)) for source in (first, second))
    floors = [source.record.metric(DISTANCE_FLOOR) for source in (first, second)]  # equal of the same real images
    if not ours or one is None or other is None or floors[0] != floors[1]:
        return None
    if first.record.features != second.record.features or [a.shape for a in ours] != [a.shape for a in theirs]:
        return None
    return paired_by_shares(one, other, ours, theirs, level, bounded=metric in ("precision", "recall"))


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool((one == other).all())
