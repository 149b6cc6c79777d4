"""The power that a run had for a claim: how likely it would have said `holds`, had the truth been a certain value.

That value is "nothing leaks" where the metric has such a value and the claim asks for at most some bound above it (an
AUC of 0.5, a TPR equal to its FPR, no copies, no difference to the other point), and the middle of a `within`.
Elsewhere no one value stands for the truth: then it is the one nearest to the bound at which `holds` is said with 80 %
probability.

Choices of ours. An interval of half width z sd around a normal estimate lies below a bound b with probability
Phi((b - truth) / sd - z), and between two bounds with Phi((high - truth) / sd - z) - Phi((low - truth) / sd + z); for
an AUC on the logit scale. Half widths are those of the run, scaled to the truth by Hanley and McNeil's formula for AUCs
and by that of `tpr_half_width` for TPRs; other metrics keep theirs. Of an AUC of 0.5 the width depends on the number of
images alone, and the run's own is not asked, unless images come in groups.

Of a claim that has to hold for several intervals (those of several attacks, and of each of two seeds) two numbers are
given: the product over them, which is never too much (Sidak, JASA 62, 1967), and the least of them, which is never too
little. They lie close where attacks resemble one another, and the truth is nearer to the second then. Of a claim that
one attack is enough for, the power is at least that of the strongest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isinf, log, prod

from leakbench.results.metric_specs import find_metric
from leakbench.statistics import Estimate, auc_half_width, tpr_half_width

from .claim import Claim

_RATE = "tpr@fpr="
_WANTED = 0.8
_STEPS = 200
_LEAST = 1e-12  # a standard deviation of nothing


@dataclass(frozen=True)
class Power:
    """`holds` would have been said with at least this `probability`, and at `most` that, had the truth been `truth`;
    the two are one number where the claim rests on one interval."""

    probability: float
    truth: float
    most: float


def find_power(
    claim: Claim, bounds: tuple[float, float], found: Sequence[Estimate], level: float, one_is_enough: bool = False
) -> Power | None:
    """The power for a claim that all of the `found` intervals of a `level` lie within `bounds`. None where no value
    that the metric can have lies within them. one_is_enough: other attacks than that of `found` might do as well."""
    distinct = list(dict.fromkeys(found))  # a computation that is on record for two access levels is one

    def power_at(truth: float) -> Power:
        each = [_holds(claim, one, truth, bounds, level) for one in distinct]
        return Power(prod(each), truth, 1.0 if one_is_enough else min(each))

    if (truth := _no_leak(claim, bounds)) is not None:
        return power_at(truth)
    return _reach(power_at, claim, bounds, max(one.high - one.low for one in distinct))


def _no_leak(claim: Claim, bounds: tuple[float, float]) -> float | None:
    """The truth that a claim hopes for, where one value stands for it."""
    if claim.within is not None:
        return (bounds[0] + bounds[1]) / 2
    if claim.against:
        return 0.0 if bounds[0] < 0 < bounds[1] else None
    if claim.at_most is None:
        return None
    metric, plain = find_metric(claim.metric), _plain_name(claim)
    nothing: dict[str, float] = {"closest to 0.5": 0.5, "closest to 0": 0.0}
    if plain.startswith(_RATE):
        value = float(plain.removeprefix(_RATE))
    elif metric.better in nothing:
        value = nothing[metric.better]
    elif metric.better == "lower" and metric.unit in ("share", "images", "nats"):
        value = 0.0
    else:
        return None
    return value if value < claim.at_most else None


def _holds(claim: Claim, found: Estimate, truth: float, bounds: tuple[float, float], level: float) -> float:
    """The probability that the interval lies within the bounds."""
    from scipy.special import ndtr, ndtri

    quantile, edge = float(ndtri((1 + level) / 2)), 1 / (2 * max(1, found.n))
    is_auc = _plain_name(claim) == "auc" and not claim.against
    measured = (found.low, found.value, found.high, truth)
    low, value, high, centre = (_logit(min(max(x, edge), 1 - edge)) if is_auc else x for x in measured)
    least, most = (_logit(x) if is_auc else x for x in bounds)
    sides = ((high - low) / 2, (high - low) / 2) if is_auc else (value - low, high - value)
    low_sd, high_sd = (max(_LEAST, _scale(claim, found, truth, edge) * side / quantile) for side in sides)
    if is_auc and truth == 0.5 and found.groups is None and found.n:
        low_sd = high_sd = auc_half_width(0.5, found.n) / -float(ndtri(0.025)) / 0.25  # on the logit scale
    below = 1.0 if isinf(most) else float(ndtr((most - centre) / high_sd - quantile))
    above = 0.0 if isinf(least) else float(ndtr((least - centre) / low_sd + quantile))
    return max(0.0, below - above)


def _scale(claim: Claim, found: Estimate, truth: float, edge: float) -> float:
    """The factor by which an interval is wider, or narrower, were the metric's true value `truth`."""
    if claim.against or found.n < 1:
        return 1.0
    plain = _plain_name(claim)
    if plain == "auc":
        kept = [min(max(x, edge), 1 - edge) for x in (truth, found.value)]
        there, here = (auc_half_width(x, found.independent) / (x * (1 - x)) for x in kept)
    elif plain.startswith(_RATE):
        rate = float(plain.removeprefix(_RATE))
        kept = [max(min(x, 1 - edge), rate + 1e-6 * (1 - rate)) for x in (truth, found.value)]
        there, here = (tpr_half_width(x, rate, found.independent) for x in kept)
    else:
        return 1.0
    return there / here


def _plain_name(claim: Claim) -> str:
    """The metric without the word for the sign that calibration asked for."""
    return claim.metric.removeprefix("oriented_")


def _logit(x: float) -> float:
    """The scale on which the interval of an AUC is as wide on both sides; bounds of 0 and 1 are none."""
    if not 0 < x < 1:
        return inf if x >= 1 else -inf
    return log(x / (1 - x))


def _reach(power_at: Callable[[float], Power], claim: Claim, bounds: tuple[float, float], width: float) -> Power | None:
    """The truth nearest to the one bound at which `holds` is said with 80 %; where none is, that of the largest power:
    close to the end of its range the interval of an AUC grows again."""
    low, high = bounds
    rising = isinf(high)  # the larger the truth, the better
    bound, best = (low, _end(claim, True)) if rising else (high, _end(claim, False))
    if isinf(best):
        best = bound + (10 if rising else -10) * width
    if best == bound or (best > bound) != rising:
        return None
    near, largest = bound, power_at(best)
    for step in range(1, _STEPS + 1):
        here = power_at(bound + (best - bound) * step / _STEPS)
        if here.probability >= _WANTED:
            break
        near, largest = here.truth, max(largest, here, key=lambda one: one.probability)
    else:
        return largest
    far = here
    for _ in range(20):
        middle = power_at((far.truth + near) / 2)
        far, near = (middle, near) if middle.probability >= _WANTED else (far, middle.truth)
    return Power(_WANTED, far.truth, max(_WANTED, round(far.most, 6)))


def _end(claim: Claim, upper: bool) -> float:
    """The largest or the least value that the metric, or a difference of it, can have."""
    low, high = find_metric(claim.metric).bounds
    if claim.against:
        low, high = low - high, high - low
    return high if upper else low
