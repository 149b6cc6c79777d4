"""The corrected numbers of every membership attack: one family a release, every attack at every level.

A release is a point at one seed. Its family holds the AUC of each attack at each access level, two-sided, and the TPR
at the headline rate, one-sided, where that rate judges anything (ten or more false alarms expected). Intervals hold
together for the whole release, whatever level is asked about: more access adds attacks and never shows less. A
computation that is on record for two levels is one. Attacks that never touch the model are a family of their own: what
they find is no leak of the model.
Of few images exact tests judge in the place of the intervals (`exact_tests.py`); their p values hold for all attacks
together, and no TPR judges.

Implementation choices: a record whose scores were not kept counts as independent of all others, and its interval of
95 % is stretched to the family's level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, Family, auc, auc_p_value, few_negatives, tpr_at_fpr
from leakbench.statistics.auc import influence
from leakbench.statistics.groups import Sides, number_sides
from leakbench.statistics.paired_rates import tpr_influence

from .aggregate import to_estimate
from .exact_tests import PERMUTED, FewScores, find_exact_tests, is_few
from .scores import GROUPS, NAMES, find_groups, orient_scores

if TYPE_CHECKING:
    from leakbench.statistics import Groups

_RATE = "tpr@fpr="
_ROWS = ("member_rows", "nonmember_rows")


@dataclass(frozen=True)
class Corrected:
    """An attack at an access level of one release: its AUC and headline TPR with intervals of the family's `level`.

    Signs are those that the calibration images asked for. p_value: that of "AUC 1/2", corrected; None where no scores
    were kept. judges: the TPR is part of the family.
    """

    auc: Estimate
    tpr: Estimate | None
    p_value: float | None
    level: float
    judges: bool

    @property
    def least(self) -> float:
        """The least that the AUC shows, read towards the side on which it lies: above 1/2 is a leak. Of few images the
        AUC itself, by which their exact tests rank."""
        if self.auc.exact is not None:
            return max(self.auc.value, 1 - self.auc.value)
        return max(self.auc.low, 1 - self.auc.high)

    @property
    def least_rate(self) -> float:
        """The least that the TPR shows; -1 without one that judges."""
        return self.tpr.low if self.tpr is not None and self.judges else -1.0


def find_corrected(run: RunFolder, record: Record, together: float = 0.95) -> Corrected | None:
    """The corrected numbers of a membership record; None where it has no AUC. Of a run that is shown in part they are
    corrected for all attacks that were run. `together`: the probability, in (0, 1), that all intervals hold."""
    family = _find_family(run.whole, record.point, record.seed, record.access == "NONE", together)
    return family.get((record.attack, record.access))


def read_p(run: RunFolder, records: list[Record]) -> float | None:
    """The corrected p value of "AUC 1/2 at some seed": the largest of the seeds'; None where a seed kept no scores."""
    found = [find_corrected(run, record) for record in records]
    known = [one.p_value for one in found if one is not None and one.p_value is not None]
    return max(known) if known and len(known) == len(found) else None


def find_target(run: RunFolder) -> float:
    """The false-positive rate of the headline TPR; 0 where the headline is no TPR."""
    name = run.plan.headline
    return float(name.removeprefix(_RATE)) if name.startswith(_RATE) else 0.0


@dataclass(frozen=True)
class _Measured:
    """A computation: its scores and groups, if kept, and whose images they are of."""

    record: Record
    scores: tuple[np.ndarray, np.ndarray] | None
    groups: Groups | None
    images: tuple[object, ...]
    permuted: np.ndarray | None = None


@cache_on_run()
def _find_family(
    run: RunFolder, point: str, seed: int, blind: bool, together: float
) -> dict[tuple[str, str], Corrected]:
    records = [
        record
        for record in run.records
        if record.point == point and record.seed == seed and record.family == "membership"
        if (record.access == "NONE") == blind and to_estimate(record.metric("auc")) is not None
    ]
    distinct = {_computation(record): record for record in records}
    measured = {key: _load(run, record) for key, record in distinct.items()}
    if not measured:
        return {}
    target = find_target(run)
    judges = {key: _judges(one, target) for key, one in measured.items()}
    family = _join(list(measured.values()), [judges[key] for key in measured], target, together)
    found = {key: _correct(run, one, judges[key], target, family) for key, one in measured.items()}
    few = {
        key: FewScores(one.scores, one.groups, one.permuted, one.images)
        for key, one in measured.items()
        if is_few(one.record) and one.scores is not None
    }
    for key, test in find_exact_tests(few, together).items():
        found[key] = replace(found[key], auc=replace(found[key].auc, exact=test), p_value=test.p_value, judges=False)
    return {(record.attack, record.access): found[_computation(record)] for record in records}


def _computation(record: Record) -> tuple[object, ...]:
    """What two records share that hold one computation; the attack's name where no arrays tell."""
    return (record.arrays,) if record.arrays else (record.attack, tuple(record.metrics))


def _load(run: RunFolder, record: Record) -> _Measured:
    arrays = run.arrays(record, only=(*NAMES, *GROUPS, *_ROWS, PERMUTED))
    scores = orient_scores(arrays, record)
    if scores is None or min(side.size for side in scores) < 2:
        return _Measured(record, None, None, (record.attack, record.access))
    rows = tuple(arrays[name].tobytes() for name in _ROWS if name in arrays)
    return _Measured(record, scores, find_groups(arrays), (scores[0].size, scores[1].size, *rows), arrays.get(PERMUTED))


def _judges(one: _Measured, target: float) -> bool:
    """Tell whether the TPR at the target is part of the family."""
    if one.scores is None or not 0 < target < 1:
        return False
    return not few_negatives(target, auc(*one.scores, groups=one.groups).independent)


def _join(measured: list[_Measured], judges: list[bool], target: float, together: float) -> Family:
    """The family of all AUCs and of the TPRs that judge, from the shares that images have in them.

    Attacks on the same images share columns; a column of its own makes an attack independent of the others.
    """
    blocks: dict[tuple[object, ...], list[tuple[np.ndarray, bool]]] = {}
    for one, rate in zip(measured, judges, strict=True):
        rows = blocks.setdefault(one.images, [])
        if one.scores is None:
            rows.append((np.ones(1), False))
            continue
        sides = number_sides(one.groups, one.scores[0].size, one.scores[1].size) or _each_alone(*one.scores)
        rows.append((influence(*one.scores, sides), False))
        if rate:
            rows.append((tpr_influence(*one.scores, target, sides), True))
    width = sum(len(rows[0][0]) for rows in blocks.values())
    shares, one_sided, start = [], [], 0
    for rows in blocks.values():
        for row, side in rows:
            shares.append(np.pad(row, (start, width - start - len(row))))
            one_sided.append(side)
        start += len(rows[0][0])
    return Family(np.array(shares), one_sided, together)


def _each_alone(member: np.ndarray, nonmember: np.ndarray) -> Sides:
    count = member.size + nonmember.size
    return Sides(np.arange(member.size), np.arange(member.size, count), count)


def _correct(run: RunFolder, one: _Measured, judges: bool, target: float, family: Family) -> Corrected:
    headline = run.plan.headline
    if one.scores is None:
        area, rate = (_stretch(_recorded(one.record, name), family.level) for name in ("auc", headline))
        assert area is not None
        return Corrected(area, rate, None, family.level, judges=False)
    area = auc(*one.scores, level=family.level, groups=one.groups)
    rate = None
    if 0 < target < 1 and one.record.metric(headline) is not None:
        rate = tpr_at_fpr(*one.scores, target, family.level, one.groups).estimate
    return Corrected(area, rate, family.correct(auc_p_value(*one.scores, one.groups)), family.level, judges)


def _recorded(record: Record, metric: str) -> Estimate | None:
    return to_estimate(record.metric(f"oriented_{metric}")) or to_estimate(record.metric(metric))


def _stretch(found: Estimate | None, level: float) -> Estimate | None:
    """An estimate whose interval of 95 % is made one of `level`, as a normal distribution's would be, within [0, 1]."""
    from scipy.special import ndtri

    if found is None:
        return None
    ratio = float(ndtri((1 - level) / 2) / ndtri(0.025))
    low, high = (found.value + ratio * (bound - found.value) for bound in (found.low, found.high))
    return Estimate(found.value, max(low, 0.0), min(high, 1.0), found.n, found.groups)
