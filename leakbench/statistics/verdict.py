"""Verdicts on AUCs and TPRs in words, and the rules for the blind baseline and the controls.

A verdict on an AUC is two-sided: an AUC whose interval lies below 1/2 is leakage too (whoever reverses the score
wins), called `inverted`; no sign is flipped by looking at reported labels. A verdict on a TPR at a fixed FPR has one
side: a TPR below the FPR may come from an inverted attack or from one that errs on its surest guesses, and the AUC
tells which.

Choices of ours. "Would have seen" is the smallest effect that the run finds with 80 % power (`power.py`,
`power_tpr.py`) at the level of its interval, rounded up: a run must not boast of more than it could. For an AUC it is
that of a two-sided test and two groups of the smaller group's size. Where an estimate carries an exact test (few
images), that judges at 5 % in the interval's place: the interval is of all members that there could be, and of few
images it is wide even where the test of these is sure. A track is invalid when the one-sided 99 % DeLong
bound of the blind baseline's AUC lies above 1/2. Controls share one error rate by Sidak (JASA 62, 1967).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from numpy.typing import ArrayLike

from ._scores import tail
from .auc import auc as delong
from .estimate import Estimate, ExactTest
from .groups import Groups
from .power import smallest_detectable_auc
from .power_tpr import smallest_detectable_tpr

EXACT_LEVEL = 0.05  # of an exact test


@dataclass(frozen=True)
class Verdict:
    """`kind`: the interval lies above what guessing gives (leaks), below (inverted), or holds it (none)."""

    kind: Literal["leaks", "inverted", "none"]
    words: str


def verdict(auc: Estimate, level: float = 0.95) -> Verdict:
    """The two-sided verdict on an AUC, of at least one image (or group) a side; `level` is that of its interval.

    Raises ValueError else.
    """
    if auc.exact is not None:
        return _exact_verdict(auc, auc.exact)
    detectable = smallest_detectable_auc(auc.independent, level)
    digits = _digits(auc, 0.5, 2)
    numbers = f"AUC {auc.value:.{digits}f} [{auc.low:.{digits}f}, {auc.high:.{digits}f}]"
    if auc.low > 0.5:
        return Verdict("leaks", f"leaks: {numbers}")
    if auc.high < 0.5:
        return Verdict("inverted", f"leaks, inverted (members score lower): {numbers}")
    return Verdict("none", f"no leak found: {numbers} (an AUC of {_rounded_up(detectable, 2)} would have been found)")


def _exact_verdict(auc: Estimate, test: ExactTest) -> Verdict:
    numbers = f"AUC {auc.value:.2f} [{auc.low:.2f}, {auc.high:.2f}], exact p = {test.p_value:.2g}"
    sides = [f"{test.members} members", f"{test.nonmembers} nonmembers"]
    if test.grouped:
        numbers_of = (test.members, "members"), (test.nonmembers, "nonmembers")
        sides = [f"{count} group{'s' * (count != 1)} of {side}" for count, side in numbers_of]
    counts = " and ".join(sides)
    if test.p_value <= EXACT_LEVEL and auc.value > 0.5:
        return Verdict("leaks", f"leaks: {numbers} ({counts})")
    if test.p_value <= EXACT_LEVEL:
        return Verdict("inverted", f"leaks, inverted (members score lower): {numbers} ({counts})")
    least = (
        "too few to find any"
        if test.detectable is None
        else f"an AUC of {_rounded_up(test.detectable, 2)} would have been found"
    )
    return Verdict("none", f"no leak found: {numbers} ({counts}: {least})")


def tpr_verdict(tpr: Estimate, target: float, nonmembers: int, level: float = 0.95) -> Verdict:
    """The verdict on a TPR at FPR `target`, in (0, 1): `leaks` where the interval lies above the target, else `none`.

    `nonmembers` counts groups where images come in groups; `level` is that of the interval. Raises ValueError for
    another target, and without a member or a nonmember.
    """
    detectable = smallest_detectable_tpr(target, tpr.independent, nonmembers, level)
    percent = Estimate(100 * tpr.value, 100 * tpr.low, 100 * tpr.high, tpr.n)
    digits = _digits(percent, 100 * target, 0)
    interval = f"[{percent.low:.{digits}f}, {percent.high:.{digits}f}]"
    numbers = f"TPR {percent.value:.{digits}f} % at FPR {100 * target:.12g} % {interval}"
    if tpr.low > target:
        return Verdict("leaks", f"leaks: {numbers}")
    if detectable is None:
        return Verdict("none", f"no leak found: {numbers} ({nonmembers} nonmembers are too few to find any)")
    least = _rounded_up(100 * detectable, digits)
    return Verdict("none", f"no leak found: {numbers} (a TPR of {least} % would have been found)")


def blind_invalid(member: ArrayLike, nonmember: ArrayLike, groups: Groups | None = None) -> bool:
    """Tell whether a baseline that never saw the model separates members from nonmembers: the split itself leaks.

    Scores have shapes (m,) and (n,); `groups` as in `auc`. Raises ValueError as it does.
    """
    # A two-sided 98 % interval leaves 1 % on the lower side.
    return delong(member, nonmember, 0.98, groups).low > 0.5


def family_wise(level: float, count: int) -> float:
    """The level for each of `count` independent intervals that hold together with probability `level`.

    Raises ValueError unless `level` is in (0, 1) and `count` at least 1.
    """
    tail(level)
    if count < 1:
        raise ValueError(f"a family has at least one member, got {count}")
    return float(level ** (1 / count))


def _digits(estimate: Estimate, guessing: float, least: int) -> int:
    """As many digits, from `least` to 5, as it takes not to print a bound on the wrong side of what guessing gives."""

    def side(bound: float) -> int:
        return (bound > guessing) - (bound < guessing)

    for digits in range(least, 5):
        if all(side(round(bound, digits)) == side(bound) for bound in (estimate.low, estimate.high)):
            return digits
    return 5


def _rounded_up(number: float, digits: int) -> str:
    # Rounded first, lest the last float digit adds a unit.
    return f"{ceil(round(number * 10**digits, 6)) / 10**digits:.{digits}f}"
