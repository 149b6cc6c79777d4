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

from leakbench.results.flags import Flag
from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE, find_metric
from leakbench.results.record import QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import (
    Estimate,
    PairedDifference,
    few_negatives,
    holm,
    independent_difference,
    over_seeds,
    paired_over_seeds,
    shrink_variances,
    trainings_difference,
)

from ..reading.comparison import Source, compare_records, read_metric
from ..reading.marks import find_marks
from ..reading.points import ACCESS_LEVELS
from ..reading.void import list_void_reasons, rests_on_split

Outcome = Literal["worse", "better", "not shown to move", "not compared"]

LEVEL = 0.05  # of a false alarm anywhere in the table
_CENTRES = {"closest to 0.5": 0.5, "closest to 0": 0.0}
_RATE = "tpr@fpr="


@dataclass(frozen=True)
class DiffRow:
    """One metric of one attack at one point in both runs.

    old, new: over the seeds, with 95 % intervals. difference: new less old, of a metric that is best at some value the
    change of its distance from there; None where it was not compared, for a `reason`. paired: seeds and images are
    shared. p_value: adjusted for the whole table. seeds: number of seeds on either side, of pairs where `paired`.
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


@dataclass(frozen=True)
class _Pair:
    """The records of a row on both sides, by seed. given: the network was handed in to both runs. shared: new less old
    at each shared seed; empty where seeds or images are not shared. paired: these are compared unit by unit."""

    point: str
    metric: str
    old: dict[int, Record]
    new: dict[int, Record]
    given: bool
    shared: tuple[PairedDifference, ...] = ()
    paired: bool = False

    @property
    def record(self) -> Record:
        """Any of its records, for what all have in common."""
        return next(iter(self.old.values()))

    @property
    def df(self) -> int:
        """Degrees of freedom of the spread from training to training."""
        return len(self.old) + len(self.new) - 2

    @property
    def trained_apart(self) -> bool:
        """Other networks were trained on either side."""
        return not self.shared and not self.given


def list_rows(old: RunFolder, new: RunFolder) -> list[DiffRow]:
    """The rows of all points and attacks that both runs measured, in the order of the old plan. A computation that
    stands in several rows is listed once. Controls, and attacks that see no model, are none."""
    pairs = [(pair, _find_reason(old, new, pair)) for pair in _find_pairs(old, new)]
    pairs = [(pair if why else _compare_seeds(old, new, pair), why) for pair, why in pairs]
    spreads = _estimate_spreads([pair for pair, why in pairs if not why and pair.trained_apart])
    return _correct([_row(pair, reason=why) if why else _compare(pair, spreads) for pair, why in pairs])


def _find_pairs(old: RunFolder, new: RunFolder) -> list[_Pair]:
    ours, its = _by_row(old), _by_row(new)
    order = {point.name: place for place, point in enumerate(old.plan.points) if point.role != "control"}
    shared = [key for key in ours if key in its and key[0] in order and key[2] != "NONE"]
    found, seen = list[_Pair](), set[tuple[str, str]]()
    for key in sorted(shared, key=lambda k: (order[k[0]], k[1] != QUALITY, k[1], ACCESS_LEVELS.index(k[2]))):
        same = (key[1], str([sorted((s, r.arrays or r.digest) for s, r in side[key].items()) for side in (ours, its)]))
        if same not in seen:
            given = all(p.given for run in (old, new) for p in run.plan.points if p.name == key[0])
            metrics = _list_metrics(old, ours[key], its[key])
            found += [_Pair(key[0], metric, ours[key], its[key], given) for metric in metrics]
        seen.add(same)
    return found


def _by_row(run: RunFolder) -> dict[tuple[str, str, str], dict[int, Record]]:
    """The records by point, attack and access, one a seed."""
    found: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in run.records:
        if record.metrics:
            found.setdefault((record.point, record.attack, record.access), {})[record.seed] = record
    return found


def _list_metrics(run: RunFolder, ours: dict[int, Record], its: dict[int, Record]) -> list[str]:
    """The metrics that are compared: the axes of the trade-off; of families that are on none, all with a direction."""
    there = [{m.name: None for r in side.values() for m in r.metrics} for side in (ours, its)]
    both = [name for name in there[0] if name in there[1]]
    axes = {"membership": ["auc", run.plan.headline], "replication": [COPY_EXCESS], QUALITY: [HELDOUT_DISTANCE]}
    wanted = axes.get(next(iter(ours.values())).family, [name for name in both if "calibration" not in name])
    kept = [name for name in wanted if name in both and find_metric(name).better]
    return [name for name in kept if not _is_rough(name, [*ours.values(), *its.values()])]


def _is_rough(metric: str, records: Sequence[Record]) -> bool:
    """True of a TPR that rests on a handful of false alarms and ranks nothing."""
    if not metric.startswith(_RATE):
        return False
    rate = float(metric.removeprefix(_RATE))
    return any(few_negatives(rate, m.n) for r in records if (m := r.metric(metric)) is not None)


def _find_reason(old: RunFolder, new: RunFolder, pair: _Pair) -> str:
    """Why a row says nothing; empty where it does."""
    for name, run, records in (("old", old, pair.old), ("new", new, pair.new)):
        if rests_on_split(pair.record) and (void := list_void_reasons(run)):
            return f"the {name} track is void: {'; '.join(reason.words for reason in void)}"
        if marks := find_marks(run, pair.point):
            return f"{name}: {'; '.join(f'{mark.flag.value}: {mark.words}' for mark in marks)}"
        if any(Flag.NON_FINITE in record.flags for record in records.values()):
            return f"{name}: some score was NaN or infinite"
        if missing := [seed for seed in run.plan.seeds if seed not in records]:
            return f"{name}: no record at seed {', '.join(map(str, missing))}"
        if any(_read(record, pair.metric) is None for record in records.values()):
            return f"{name}: it could not be computed, or has no interval"
    return ""


def _read(record: Record, metric: str) -> Estimate | None:
    """A metric with its interval, of an AUC with the sign that calibration asked for."""
    found = read_metric(record, metric)
    return None if found is None or isnan(found.low) or isnan(found.high) else found


def _compare_seeds(old: RunFolder, new: RunFolder, pair: _Pair) -> _Pair:
    """The row with its differences at shared seeds: unit by unit where all can be, else as if nothing were shared."""
    seeds = sorted(pair.old.keys() & pair.new.keys())
    if not seeds or not (pair.given or _same_split(old, new)):  # of one network any pairing of images is sound
        return pair
    found = [compare_records(Source(new, pair.new[s]), Source(old, pair.old[s]), pair.metric) for s in seeds]
    known = [one for one in found if one is not None and not isnan(one.found.p_value)]
    if len(known) < len(seeds):
        return pair
    folded = (_fold_pair(one.found, pair.old[s], pair.new[s], pair.metric) for one, s in zip(known, seeds, strict=True))
    return replace(pair, shared=tuple(folded), paired=all(one.paired for one in known))


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
    old, new = _read(ours, metric), _read(its, metric)
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
    found = [_read(record, metric) for record in records.values()]
    return [_fold(one, metric) for one in found if one is not None]


_Key = tuple[str, str, str, str]


def _key(pair: _Pair) -> _Key:
    return pair.point, pair.record.attack, pair.record.access, pair.metric


def _estimate_spreads(pairs: Sequence[_Pair]) -> dict[_Key, tuple[float, float]]:
    """The standard deviation from training to training and its degrees of freedom, by row; the rows of one metric are
    estimated together."""
    found: dict[_Key, tuple[float, float]] = {}
    for metric, df in {(pair.metric, pair.df) for pair in pairs if pair.df > 0}:
        some = [pair for pair in pairs if (pair.metric, pair.df) == (metric, df)]
        shrunk = shrink_variances([_variance(pair) for pair in some], df)
        for pair, variance in zip(some, shrunk.variances, strict=True):
            found[_key(pair)] = sqrt(variance), shrunk.df
    return found


def _variance(pair: _Pair) -> float:
    """The variance between the seeds of a run, of both runs together."""
    total = 0.0
    for records in (pair.old, pair.new):
        values = [one.value for one in _list_folded(records, pair.metric)]
        mean = sum(values) / len(values)
        total += sum((value - mean) ** 2 for value in values)
    return total / pair.df


def _compare(pair: _Pair, spreads: dict[_Key, tuple[float, float]]) -> DiffRow:
    if pair.shared:
        return _row(pair, found=paired_over_seeds(pair.shared))
    if pair.trained_apart and pair.df == 0:
        return _row(pair, reason="one seed each, and other seeds or images: how far trainings differ is not known")
    new, old = (_list_folded(records, pair.metric) for records in (pair.new, pair.old))
    spread, df = spreads.get(_key(pair), (0.0, inf))
    return _row(pair, found=trainings_difference(new, old, spread, df))


def _row(pair: _Pair, found: PairedDifference | None = None, reason: str = "") -> DiffRow:
    return DiffRow(
        *_key(pair),
        outcome="not shown to move" if found else "not compared",
        old=_join(pair.old, pair.metric),
        new=_join(pair.new, pair.metric),
        difference=found.difference if found else None,
        p_value=found.p_value if found else None,
        paired=pair.paired,
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
    return replace(row, p_value=p_value, outcome=moved if p_value <= LEVEL else "not shown to move")
