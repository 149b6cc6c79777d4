"""Negative controls: what cannot leak must not be seen to leak.

A network that is untrained, or trained on other images, holds no member, and the blind baseline sees no model. Their
AUC intervals share one error rate of 1 % (`family_wise`), that of the blind baseline's bound, so that a run with many
controls does not fail by their number. Equal arrays (one computation written for two access levels, or for several
releases) are one control.

AUCs are read as everywhere, with the sign that the calibration images asked for; an interval holds 1/2 with either
sign. Of few images exact tests judge in the place of the intervals, at the same error rate. The blind baseline alone is
judged by its raw scores: it is meant to score members higher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, auc, blind_invalid, exact_p_value, family_wise, finite, permutation_p_value

from .aggregate import to_estimate
from .exact_tests import PERMUTED, is_few
from .scores import NAMES, load_groups, load_scores

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.99


@dataclass(frozen=True)
class Control:
    """A control: `exact` where its interval has the family's level, else it is the record's own 95 % interval. least_p:
    of few images, the p value below which it misbehaves, and `p_value` its own."""

    what: str
    auc: Estimate
    exact: bool
    p_value: float | None = None
    least_p: float = 0.0

    @property
    def behaves(self) -> bool:
        """True if the interval holds 1/2, or the exact test finds nothing."""
        if self.p_value is not None:
            return self.p_value > self.least_p
        return self.auc.low <= 0.5 <= self.auc.high


def list_controls(run: RunFolder) -> list[Control]:
    """All controls, each at the level at which they hold together."""
    records = _distinct(run)
    level = family_wise(LEVEL, len(records)) if records else LEVEL
    found = [_control(run, record, level) for record in records]
    return [control for control in found if control is not None]


def invalidating_attacks(run: RunFolder) -> list[str]:
    """The attacks, with their seeds, that tell members from nonmembers without the model (one-sided 99 %)."""
    found = {f"{r.attack}, seed {r.seed}" for r in run.records if r.family == "membership" and _sees_the_split(run, r)}
    return sorted(found)


def _sees_the_split(run: RunFolder, record: Record) -> bool:
    if record.access != "NONE" or record.unit != "image":  # one test a seed: persons are told by the same images
        return False
    scores, groups = None if is_few(record) else _load_raw(run, record), load_groups(run, record)
    return Flag.TRACK_INVALID in record.flags or (scores is not None and blind_invalid(*scores, groups))


def _distinct(run: RunFolder) -> list[Record]:
    memberless = {p.name for p in run.plan.points if p.role == "control"}
    found: dict[str, Record] = {}
    for record in run.records:
        if record.family == "membership" and (record.access == "NONE" or record.point in memberless):
            found.setdefault(record.arrays or record.digest, record)
    return list(found.values())


def _control(run: RunFolder, record: Record, level: float) -> Control | None:
    where = "without the model" if record.access == "NONE" else f"on {record.point}"
    what = f"{record.attack} {where}, seed {record.seed}"
    scores = load_scores(run, record)
    if scores is not None:
        groups = load_groups(run, record)
        measured = auc(*scores, level=level, groups=groups)
        p_value = _test_few(run, record, *scores) if is_few(record) else None
        return Control(what, measured, exact=True, p_value=p_value, least_p=1 - level)
    own = to_estimate(record.metric("oriented_auc")) or to_estimate(record.metric("auc"))
    return None if own is None else Control(what, own, exact=False)


def _test_few(run: RunFolder, record: Record, member: np.ndarray, nonmember: np.ndarray) -> float:
    """The exact test of few images, of one control alone."""
    permuted = run.arrays(record, only=(PERMUTED,)).get(PERMUTED)
    if permuted is None:
        return exact_p_value(member, nonmember, load_groups(run, record))
    return permutation_p_value(auc(member, nonmember).value, permuted)


def _load_raw(run: RunFolder, record: Record) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores as they are, whatever the calibration images asked for."""
    arrays = run.arrays(record)
    if any(name not in arrays for name in NAMES):
        return None
    return finite(arrays[NAMES[0]]), finite(arrays[NAMES[1]])
