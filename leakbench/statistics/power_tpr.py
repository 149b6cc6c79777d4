"""Number of images that a TPR at a fixed FPR needs, for an interval of a wanted width or to see a wanted effect.

The interval of `tpr_at_fpr` is foretold by its own formula, with what it would find put in for what it finds. The ROC
is taken for that of two normal distributions of equal variance through (target, tpr):
    TPR(f) = Phi(Phi^-1(f) + d),   d = Phi^-1(tpr) - Phi^-1(target);
the ends of the threshold's interval lie at f = target -+ z sqrt(target (1 - target) / n), one false alarm further on
the lax side; Clopper-Pearson's bounds are evaluated at the expected, not whole, counts.

Choices of ours. A TPR is seen when the low end of its interval lies above the FPR. The least TPR that is seen with 80
% probability is the one at which the expected low end lies .84 standard deviations above the FPR; the low end varies
about as the TPR at the strict end of the threshold's interval does, with
    variance s (1 - s) / m + slope^2 f (1 - f) / n,   s = TPR(f),   slope = dTPR/df.

Simulated with `tpr_at_fpr` (`python tests/leakbench/statistics/test_power_tpr.py`), n = 100 to 30,000 and targets .1,
.01 and .001, at least ten false alarms expected: half-widths are within 9 % of the mean of 200 real ones, the power is
.80 to .88 of 1,000 repetitions. Below about 3.8 expected false alarms no TPR can be seen: the threshold may lie above
all nonmembers.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, sqrt

from ._scores import tail
from .power import POWER, least
from .proportions import fractional_clopper_pearson
from .tpr import joined

_NEARLY_ALL = 1 - 1e-9  # Phi^-1 of 1 is no number


def tpr_half_width(tpr: float, target: float, n: int, level: float = 0.95) -> float:
    """Half the width of the interval of a TPR in (target, 1) at FPR `target` from `n` members and `n` nonmembers.

    Raises ValueError unless 0 < target < tpr < 1, `n` is at least 1, and `level` in (0, 1).
    """
    _check(target, tpr)
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    low, high = _expected(tpr, target, n, n, level)
    return (high - low) / 2


def tpr_images(tpr: float, target: float, half_width: float, level: float = 0.95) -> int:
    """The least n, 10 / target or more, at which `tpr_half_width` is `half_width` or less.

    Raises ValueError as it does, and for a width of 0.
    """
    _check(target, tpr)
    if not half_width > 0:
        raise ValueError(f"the half-width must be above 0, got {half_width}")
    return least(lambda n: tpr_half_width(tpr, target, n, level) <= half_width, ranked_images(target))


def ranked_images(target: float) -> int:
    """The least number of nonmembers at which a TPR at FPR `target`, in (0, 1), is not flagged `few-negatives`."""
    _check(target)
    return ceil(round(10 / target, 6))


@lru_cache(maxsize=256)
def smallest_detectable_tpr(target: float, members: int, nonmembers: int, level: float = 0.95) -> float | None:
    """The least TPR at FPR `target`, in (0, 1), that an interval of `level` shows with 80 % power; None if not even a
    TPR of 1 is seen.

    Raises ValueError for another target, if there is no member or no nonmember, and for a level outside (0, 1).
    """
    _check(target)
    if min(members, nonmembers) < 1:
        raise ValueError(f"at least one image a side is needed, got {members} members and {nonmembers} nonmembers")
    if not _seen(_NEARLY_ALL, target, members, nonmembers, level):
        return None
    low, high = target, _NEARLY_ALL
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _seen(middle, target, members, nonmembers, level) else (middle, high)
    return high


def tpr_images_to_see(tpr: float, target: float) -> int:
    """The least n, 10 / target or more, at which a TPR in (target, 1) is seen. Raises ValueError as the others do."""
    _check(target, tpr)
    return least(lambda n: _seen(tpr, target, n, n), ranked_images(target))


def _seen(tpr: float, target: float, members: int, nonmembers: int, level: float = 0.95) -> bool:
    from scipy.special import ndtri

    strict = _ends(target, nonmembers, level)[0]
    if strict <= 0:
        return False
    low, _ = _expected(tpr, target, members, nonmembers, level)
    distance = float(ndtri(tpr) - ndtri(target))
    slope = (_roc(strict * 1.001, distance) - _roc(strict * 0.999, distance)) / (0.002 * strict)
    above = _roc(strict, distance)
    spread = sqrt(above * (1 - above) / members + slope**2 * strict * (1 - strict) / nonmembers)
    return low - float(ndtri(POWER)) * spread >= target


def _expected(tpr: float, target: float, members: int, nonmembers: int, level: float) -> tuple[float, float]:
    """The interval that `tpr_at_fpr` is expected to give."""
    from scipy.special import ndtri

    distance = float(ndtri(tpr) - ndtri(target))
    shares = (tpr, *(_roc(end, distance) for end in _ends(target, nonmembers, level)))
    return joined(*(fractional_clopper_pearson(share, members, level) for share in shares))


def _ends(target: float, nonmembers: int, level: float) -> tuple[float, float]:
    """The FPRs at the strict and the lax end of the threshold's interval, cut to [0, 1]."""
    from scipy.special import ndtri

    reach = -float(ndtri(tail(level))) * sqrt(target * (1 - target) / nonmembers)
    return max(0.0, target - reach), min(1.0, target + reach + 1 / nonmembers)


def _roc(fpr: float, distance: float) -> float:
    from scipy.special import ndtr, ndtri

    return float(ndtr(ndtri(fpr) + distance))


def _check(target: float, tpr: float | None = None) -> None:
    if not 0 < target < 1:
        raise ValueError(f"the target lies strictly between 0 and 1, got {target}")
    if tpr is not None and not target < tpr < 1:
        raise ValueError(f"a TPR to plan for lies between the FPR, {target}, and 1, got {tpr}")
