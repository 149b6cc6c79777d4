"""The rows of two runs side by side: one metric of one attack at one point, and how far it moved.

Where seeds and images are shared, each seed is compared with itself, image by image (`compare_records`), and what moved
has moved at every seed. Elsewhere other networks were trained or other images drawn, and the differences between the
seeds of a run are noise as well (`trainings_difference`, whose variance the rows of a metric estimate together). Of a
network that was handed in there is one, and no noise of training.

An AUC, and all else that is best at some value, is read by its distance from there: the sign that calibration asked for
first, then its distance from 0.5, on whichever side. All p values of the table are corrected together (Holm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, sqrt
from typing import Literal

from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import (
    Estimate,
    PairedDifference,
    holm,
    independent_difference,
    over_seeds,
    paired_over_seeds,
    shrink_variances,
    trainings_difference,
)

from ..reading.comparison import Source, compare_records, read_metric
from .diff_pairs import Pair, find_pairs, find_reason, read_with_interval
from .diff_unpaired import explain_unpaired

Outcome = Literal["worse", "better", "no change shown", "not compared"]

LEVEL = 0.05  # of a false alarm anywhere in the table
_CENTRES = {"closest to 0.5": 0.5, "closest to 0": 0.0}


@dataclass(frozen=True)
class DiffRow:
    """One metric of one attack at one point in both runs.

    old, new: over the seeds, with 95 % intervals. difference: new less old, of a metric that is best at some value the
    change of its distance from there; None where it was not compared, for a `reason`. paired: seeds and images are
    shared, and each was compared with itself; else `unpaired` says why not. p_value: adjusted for the whole table.
    seeds: number of seeds on either side, of shared ones where there are such.
    """

    point: str
    attack: str
    access: str
    metric: str
    outcome: Outcome
    old: Estimate | None = None
    new: Estimate | None = None
    difference: Estimate | None = None
    p_value: float | None = None
    paired: bool = False
    seeds: tuple[int, int] = (0, 0)
    reason: str = ""
    unpaired: str = ""


def list_rows(old: RunFolder, new: RunFolder) -> list[DiffRow]:
    """The rows of all points and attacks that the old run measured, in the order of its plan; what the new run lacks is
    among them, as not compared. A computation that stands in several rows is listed once. Controls, and attacks that
    see no model, are none."""
    pairs = [(pair, find_reason(old, new, pair)) for pair in find_pairs(old, new)]
    pairs = [(pair if why else _compare_seeds(old, new, pair), why) for pair, why in pairs]
    spreads = _estimate_spreads([pair for pair, why in pairs if not why and pair.trained_apart])
    return _correct([_row(pair, reason=why) if why else _compare(pair, spreads) for pair, why in pairs])


def _compare_seeds(old: RunFolder, new: RunFolder, pair: Pair) -> Pair:
    """The row with its differences at shared seeds: unit by unit where all can be, else as if nothing were shared."""
    seeds = sorted(pair.old.keys() & pair.new.keys())
    if not seeds:
        return replace(pair, unpaired="no seed in common")
    if not (pair.given or _same_split(old, new)):  # of one network any pairing of images is sound
        return replace(pair, unpaired="other images")
    sides = [(Source(old, pair.old[s]), Source(new, pair.new[s])) for s in seeds]
    found = [compare_records(later, before, pair.metric) for before, later in sides]
    known = [one for one in found if one is not None and not isnan(one.found.p_value)]
    if len(known) < len(seeds):
        return replace(pair, unpaired="a difference has no p value")
    folded = (_fold_pair(one.found, pair.old[s], pair.new[s], pair.metric) for one, s in zip(known, seeds, strict=True))
    why = [explain_unpaired(*side, pair.metric) for side, one in zip(sides, known, strict=True) if not one.paired]
    return replace(pair, shared=tuple(folded), paired=not why, unpaired=why[0] if why else "")


def _same_split(old: RunFolder, new: RunFolder) -> bool:
    """True if both runs drew the same images for training, as far as their plans tell."""
    if (old.plan.dataset, old.plan.split) != (new.plan.dataset, new.plan.split):
        return False
    ours, its = (run.plan.settings.get("split") or {} for run in (old, new))
    return all(ours[key] == its[key] for key in ours.keys() & its.keys())  # a later version may have more settings


def _fold_pair(found: PairedDifference, ours: Record, its: Record, metric: str) -> PairedDifference:
    """The change of the distance from the best value, where a metric has one: the difference itself or minus that; as
    if nothing were shared where the two lie on either side."""
    centre = _CENTRES.get(find_metric(metric).better)
    old, new = read_with_interval(ours, metric), read_with_interval(its, metric)
    if centre is None or old is None or new is None:
        return found
    # An AUC whose interval lies below 1/2 was read the other way round (`compare_records`).
    above = [one.value >= centre or (metric == "auc" and one.high < centre) for one in (old, new)]
    if above[0] != above[1]:
        return independent_difference(_fold(new, metric), _fold(old, metric))
    if above[0]:
        return found
    d = found.difference
    return PairedDifference(replace(d, value=-d.value, low=-d.high, high=-d.low), found.p_value)


def _fold(found: Estimate, metric: str) -> Estimate:
    """The distance from the best value, where a metric has one; else the metric itself."""
    centre = _CENTRES.get(find_metric(metric).better)
    if centre is None:
        return found
    if found.value < centre:
        return replace(found, value=centre - found.value, low=centre - found.high, high=centre - found.low)
    return replace(found, value=found.value - centre, low=found.low - centre, high=found.high - centre)


def _list_folded(records: dict[int, Record], metric: str) -> list[Estimate]:
    found = [read_with_interval(record, metric) for record in records.values()]
    return [_fold(one, metric) for one in found if one is not None]


_Key = tuple[str, str, str, str]


def _key(pair: Pair) -> _Key:
    return pair.point, pair.record.attack, pair.record.access, pair.metric


def _estimate_spreads(pairs: Sequence[Pair]) -> dict[_Key, tuple[float, float]]:
    """The standard deviation from training to training and its degrees of freedom, by row; the rows of one metric are
    estimated together."""
    found: dict[_Key, tuple[float, float]] = {}
    for metric, df in {(pair.metric, pair.df) for pair in pairs if pair.df > 0}:
        some = [pair for pair in pairs if (pair.metric, pair.df) == (metric, df)]
        shrunk = shrink_variances([_variance(pair) for pair in some], df)
        for pair, variance in zip(some, shrunk.variances, strict=True):
            found[_key(pair)] = sqrt(variance), shrunk.df
    return found


def _variance(pair: Pair) -> float:
    """The variance between the seeds of a run, of both runs together."""
    total = 0.0
    for records in (pair.old, pair.new):
        values = [one.value for one in _list_folded(records, pair.metric)]
        mean = sum(values) / len(values)
        total += sum((value - mean) ** 2 for value in values)
    return total / pair.df


def _compare(pair: Pair, spreads: dict[_Key, tuple[float, float]]) -> DiffRow:
    if pair.shared:
        return _row(pair, found=paired_over_seeds(pair.shared))
    if pair.trained_apart and pair.df == 0:
        return _row(pair, reason="one seed each, and other seeds or images: how far trainings differ is not known")
    new, old = (_list_folded(records, pair.metric) for records in (pair.new, pair.old))
    spread, df = spreads.get(_key(pair), (0.0, inf))
    return _row(pair, found=trainings_difference(new, old, spread, df))


def _row(pair: Pair, found: PairedDifference | None = None, reason: str = "") -> DiffRow:
    return DiffRow(
        *_key(pair),
        outcome="no change shown" if found else "not compared",
        old=_join(pair.old, pair.metric),
        new=_join(pair.new, pair.metric),
        difference=found.difference if found else None,
        p_value=found.p_value if found else None,
        paired=pair.paired,
        unpaired=pair.unpaired,
        seeds=(len(pair.shared), len(pair.shared)) if pair.shared else (len(pair.old), len(pair.new)),
        reason=reason,
    )


def _join(records: dict[int, Record], metric: str) -> Estimate | None:
    """A metric over the seeds; None where no record has a value."""
    each = [one for record in records.values() if (one := read_metric(record, metric)) is not None]
    if not each:
        return None
    joined = over_seeds(each, bounds=find_metric(metric).bounds)
    return Estimate(joined.mean, joined.low, joined.high, min(one.n for one in each))


def _correct(rows: list[DiffRow]) -> list[DiffRow]:
    """The rows with p values adjusted by Holm, and what follows from them."""
    adjusted = iter(holm([row.p_value for row in rows if row.p_value is not None]))
    return [row if row.p_value is None else _decide(row, next(adjusted)) for row in rows]


def _decide(row: DiffRow, p_value: float) -> DiffRow:
    assert row.difference is not None
    higher = find_metric(row.metric).better == "higher"
    moved: Outcome = "better" if (row.difference.value > 0) == higher else "worse"
    return replace(row, p_value=p_value, outcome=moved if p_value <= LEVEL else "no change shown")
