"""One metric over several seeds.

Choices of ours. Seeds train anew but share the reported images, so the within-run error does not average out over
seeds. The interval joins, by MOVER, the mean within-run distance to each bound with Student's interval of the mean
over seeds:
    low = mean - sqrt(mean(value - low)^2 + (t s / sqrt(S))^2),   high likewise,
where s is the standard deviation between S seeds. It errs to the wide side where images are drawn anew for each seed,
since s then holds their error as well. One seed: that run's interval. Two seeds: no standard deviation is pretended;
the interval is the envelope of the two, which describes them and promises no coverage of further seeds.

Coverage of a nominal 95 % at 3, 5 and 10 seeds, spread within : between = 1:.2, 1:1, .2:1, .01:1, 5,000 repetitions
(`python tests/leakbench/statistics/test_seeds.py`): .947 to .978 with shared images, .948 to 1 with images of their
own. The envelope of two covers .96 to .52 with shared images: the less, the more the seeds differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, inf, sqrt

import numpy as np

from ._scores import tail
from .estimate import Estimate


@dataclass(frozen=True)
class Summary:
    """The `mean` over `seeds` runs, the interval `[low, high]` of the whole, and the runs' least and largest value."""

    mean: float
    low: float
    high: float
    minimum: float
    maximum: float
    seeds: int


def over_seeds(
    estimates: Sequence[Estimate], level: float = 0.95, bounds: tuple[float, float] = (-inf, inf)
) -> Summary:
    """Summarises one metric, each estimate being one seed's, with an interval of `level`, the estimates' own.

    `bounds` is the metric's range ((0, 1) for a rate), to which the interval is cut. Raises ValueError without
    estimates and for a level outside (0, 1).
    """
    if not estimates:
        raise ValueError("no seed to summarise")
    values = np.array([estimate.value for estimate in estimates])
    low, high = _interval(estimates, values, tail(level))
    return Summary(
        mean=float(values.mean()),
        low=max(low, bounds[0]),
        high=min(high, bounds[1]),
        minimum=float(values.min()),
        maximum=float(values.max()),
        seeds=len(estimates),
    )


def _interval(estimates: Sequence[Estimate], values: np.ndarray, alpha: float) -> tuple[float, float]:
    from scipy.special import stdtrit

    lows, highs = (np.array([getattr(estimate, side) for estimate in estimates]) for side in ("low", "high"))
    count = len(estimates)
    if count < 3:
        return float(lows.min()), float(highs.max())
    between = float(stdtrit(count - 1, 1 - alpha)) * float(values.std(ddof=1)) / sqrt(count)
    mean = float(values.mean())
    return mean - hypot(float((values - lows).mean()), between), mean + hypot(float((highs - values).mean()), between)
