"""The records of two runs that belong together, metric by metric, and why some of them cannot be compared.

A point is the same in both runs where its name, condition and chain are. Its parameters may have changed: whether the
change did harm is what a comparison is for, and it stands among the changes of the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from leakbench.results.flags import Flag
from leakbench.results.metric_specs import COPY_EXCESS, TRAINING_DISTANCE, find_metric, other_features
from leakbench.results.record import ACCESS_LEVELS, QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Estimate, PairedDifference, few_negatives

from ..reading.auditing import unit_of
from ..reading.comparison import read_metric
from ..reading.marks import find_marks
from ..reading.void import list_void_reasons, rests_on_split

_RATE = "tpr@fpr="
# Beside the distance to held-out images they say the same of the samples once more, or say what a training cost.
_SECONDARY = {TRAINING_DISTANCE, "kid", "precision", "recall", "lpips_diversity", "lpips_nearest"}
_SECONDARY |= {"network_evaluations"}


@dataclass(frozen=True)
class Pair:
    """The records of a row on both sides, by seed; `new` is empty where the new run has none.

    given: the network was handed in to both runs. shared: new less old at each shared seed; empty where seeds or images
    are not shared. paired: these are compared unit by unit; else `unpaired` says why not.
    """

    point: str
    metric: str
    old: dict[int, Record]
    new: dict[int, Record]
    given: bool
    shared: tuple[PairedDifference, ...] = ()
    paired: bool = False
    unpaired: str = ""

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


def find_pairs(old: RunFolder, new: RunFolder) -> list[Pair]:
    """The metrics that the old run has, in the order of its plan, each with its records on both sides."""
    ours, its = _by_row(old), _by_row(new)
    order = {point.name: place for place, point in enumerate(old.plan.points) if point.role != "control"}
    keys = [key for key in ours if key[0] in order and key[2] != "NONE"]
    found, seen = list[Pair](), set[tuple[str, str]]()
    for key in sorted(keys, key=lambda k: (order[k[0]], k[1] != QUALITY, k[1], ACCESS_LEVELS.index(k[2]))):
        sides = (ours[key], its.get(key, {}))
        same = (key[1], str([sorted((s, r.arrays or r.digest) for s, r in side.items()) for side in sides]))
        if same not in seen:
            points = [_find_point(run, key[0]) for run in (old, new)]
            given = all(point is not None and point.given for point in points)
            found += [Pair(key[0], metric, *sides, given) for metric in _list_metrics(old, *sides)]
        seen.add(same)
    return found


def _by_row(run: RunFolder) -> dict[tuple[str, str, str], dict[int, Record]]:
    """The records by point, attack and access, one a seed."""
    found: dict[tuple[str, str, str], dict[int, Record]] = {}
    for record in run.records:
        if record.metrics:
            found.setdefault((record.point, record.attack, record.access), {})[record.seed] = record
    return found


def _find_point(run: RunFolder, name: str) -> PlannedPoint | None:
    return next((point for point in run.plan.points if point.name == name), None)


def _list_metrics(run: RunFolder, ours: dict[int, Record], its: dict[int, Record]) -> list[str]:
    """The metrics that are compared: those by which a family is read, and where a record has none of them all that have
    a direction."""
    there = {m.name: None for r in ours.values() for m in r.metrics if m.value is not None}
    directed = [name for name in there if find_metric(name).better and "calibration" not in name]
    family = next(iter(ours.values())).family
    wanted = {"membership": ["auc", run.plan.headline, "forget_auc"], "replication": [COPY_EXCESS]}
    wanted[QUALITY] = [name for name in directed if name not in _SECONDARY and not other_features(name)]
    kept = [name for name in wanted.get(family, ()) if name in directed] or directed
    return [name for name in kept if not _is_rough(name, [*ours.values(), *its.values()])]


def _is_rough(metric: str, records: Sequence[Record]) -> bool:
    """True of a TPR that rests on a handful of false alarms and ranks nothing."""
    if not metric.startswith(_RATE):
        return False
    rate = float(metric.removeprefix(_RATE))
    return any(few_negatives(rate, m.n_groups or m.n) for r in records if (m := r.metric(metric)) is not None)


def find_reason(old: RunFolder, new: RunFolder, pair: Pair) -> str:
    """Why a row says nothing; empty where it does."""
    if not pair.new:
        return _find_lack(new, pair)
    if other := _find_other(old, new, pair):
        return f"not the same point: {other}"
    if other := _find_other_unit(pair):
        return other
    for name, run, records in (("old", old, pair.old), ("new", new, pair.new)):
        if rests_on_split(pair.record) and (void := list_void_reasons(run)):
            return f"the {name} track is void: {'; '.join(reason.words for reason in void)}"
        if marks := find_marks(run, pair.point):
            return f"{name}: {'; '.join(f'{mark.flag.value}: {mark.words}' for mark in marks)}"
        if any(Flag.NON_FINITE in record.flags for record in records.values()):
            return f"{name}: some score was NaN or infinite"
        if missing := [seed for seed in run.plan.seeds if seed not in records]:
            return f"{name}: no record at seed {', '.join(map(str, missing))}"
        if all(record.metric(pair.metric) is None for record in records.values()):
            return f"{name}: not measured"
        if any(read_with_interval(record, pair.metric) is None for record in records.values()):
            return f"{name}: it could not be computed, or has no interval"
    return ""


def _find_other_unit(pair: Pair) -> str:
    """How the units of two epsilons differ, by image and by person; empty where they do not."""
    ours, its = ({unit_of(record) for record in side.values()} for side in (pair.old, pair.new))
    if not pair.metric.startswith("epsilon_") or ours == its:
        return ""
    words = [" and ".join(f"by {unit}" for unit in sorted(units)) for units in (ours, its)]
    return f"not the same epsilon: {words[0]} in the old run, {words[1]} in the new"


def _find_lack(new: RunFolder, pair: Pair) -> str:
    """Why the new run has no record of a row, as far as its plan tells."""
    attack = pair.record.attack_id
    point = _find_point(new, pair.point)
    if point is None:
        return "no record in the new run: its plan has no such point"
    if new.plan.attacks and attack != QUALITY and attack not in new.plan.attacks_at(point):
        return "no record in the new run: its plan has no such attack there"
    if any((r.point, r.attack_id) == (pair.point, attack) and Flag.NOT_APPLICABLE in r.flags for r in new.records):
        return "no numbers in the new run: the attack is not applicable there"
    return "no record in the new run"


def _find_other(old: RunFolder, new: RunFolder, pair: Pair) -> str:
    """In which way a point is not the same in both runs; empty where it is. A plan or a record of an earlier version
    may lack a field: it then says nothing of it."""
    points = [point for run in (old, new) if (point := _find_point(run, pair.point)) is not None]
    if len(points) == 2:
        ours, its = points
        told = ours.model_fields_set & its.model_fields_set
        if "condition" in told and ours.condition != its.condition:
            return f"condition {ours.condition} in the old run, {its.condition} in the new"
        if ours.chain and its.chain and ours.chain != its.chain:
            return f"{' + '.join(ours.chain)} in the old run, {' + '.join(its.chain)} in the new"
    return ""


def read_with_interval(record: Record, metric: str) -> Estimate | None:
    """A metric with its interval, of an AUC with the sign that calibration asked for."""
    found = read_metric(record, metric)
    return None if found is None or isnan(found.low) or isnan(found.high) else found
