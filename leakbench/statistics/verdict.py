"""What a run's AUC says in words, and the rules that judge the judges: the blind baseline and the controls.

A verdict is two-sided: an AUC whose interval lies below 1/2 is leakage too (whoever reverses the score wins), called
`inverted`; no sign is flipped by looking at reported labels.

Choices of ours. "Would have seen" is the least AUC that a two-sided 5 % test finds with 80 % power, by the standard
error of Hanley and McNeil (Radiology 143, 1982) at AUC 1/2, sqrt((2n + 1) / (12 n^2)), for two groups of the smaller
group's size. A track is invalid when the one-sided 99 % DeLong bound of the blind baseline's AUC lies above 1/2.
Controls share one error rate by Sidak (JASA 62, 1967).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

from numpy.typing import ArrayLike

from ._scores import tail
from .auc import auc as delong
from .estimate import Estimate


@dataclass(frozen=True)
class Verdict:
    """`kind`: the AUC's interval lies above 1/2 (leaks), below (inverted), or holds it (none); `words` for people."""

    kind: Literal["leaks", "inverted", "none"]
    words: str


def verdict(auc: Estimate) -> Verdict:
    """The two-sided verdict on an AUC, whose `n` is the smaller group's size. Raises ValueError if that is below 1."""
    detectable = smallest_detectable_auc(auc.n)
    if auc.low > 0.5:
        return Verdict("leaks", f"leaks: AUC {_numbers(auc)}")
    if auc.high < 0.5:
        return Verdict("inverted", f"leaks, inverted (members score lower): AUC {_numbers(auc)}")
    # Rounded up: a run must not boast of more than it could.
    return Verdict("none", f"no leak found: AUC {_numbers(auc)}; would have seen {ceil(detectable * 100) / 100:.2f}")


def smallest_detectable_auc(n: int) -> float:
    """The least AUC above 1/2, at most 1, that `n` members and `n` nonmembers show at 5 % (two-sided) with 80 % power.

    Raises ValueError if `n` is below 1.
    """
    from scipy.special import ndtri

    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    error = sqrt((2 * n + 1) / (12 * n * n))
    return min(1.0, 0.5 + float(ndtri(0.975) + ndtri(0.8)) * error)


def blind_invalid(member: ArrayLike, nonmember: ArrayLike) -> bool:
    """Whether a baseline that never saw the model tells reported members from nonmembers: the split itself leaks.

    Scores have shapes (m,) and (n,). Raises ValueError as `auc` does.
    """
    # A two-sided 98 % interval leaves 1 % on the lower side.
    return delong(member, nonmember, level=0.98).low > 0.5


def family_wise(level: float, count: int) -> float:
    """The level for each of `count` independent intervals that hold together with probability `level`.

    Raises ValueError unless `level` is in (0, 1) and `count` at least 1.
    """
    tail(level)
    if count < 1:
        raise ValueError(f"a family has at least one member, got {count}")
    return float(level ** (1 / count))


def _numbers(auc: Estimate) -> str:
    """Value and interval, with as many digits as it takes not to print a bound on the wrong side of 1/2, at most 5."""
    outside = [bound for bound in (auc.low, auc.high) if bound != 0.5]
    digits = 2
    while digits < 5 and any(round(bound, digits) == 0.5 for bound in outside):
        digits += 1
    return f"{auc.value:.{digits}f} [{auc.low:.{digits}f}, {auc.high:.{digits}f}]"
