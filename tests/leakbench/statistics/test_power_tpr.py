"""Planning a TPR: inverses of their forward functions, and kept promises in simulation with the real interval.

Run as a program, it prints what the module's docstring says:
    OMP_NUM_THREADS=1 python tests/leakbench/statistics/test_power_tpr.py
"""

from __future__ import annotations

from math import hypot

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, norm

from leakbench.statistics import (
    few_negatives,
    ranked_images,
    smallest_detectable_tpr,
    tpr_at_fpr,
    tpr_half_width,
    tpr_images,
    tpr_images_to_see,
)

targets = st.sampled_from([0.001, 0.01, 0.1, 0.3])


def simulated(tpr, target, n, repetitions, seed=0):
    """Mean half-width of the real interval, and how often its low end lies above the target."""
    rng = np.random.default_rng(seed)
    shift = norm.ppf(tpr) - norm.ppf(target)
    found = [tpr_at_fpr(rng.normal(shift, 1, n), rng.normal(size=n), target).estimate for _ in range(repetitions)]
    return np.mean([(one.high - one.low) / 2 for one in found]), np.mean([one.low > target for one in found])


def test_half_width_written_out():
    # 1,000 a side at FPR .1: the threshold's interval is .1 -+ 1.96 * .0094868, the lax end one false alarm further.
    ends = np.array([0.1 - 1.959964 * 0.0094868, 0.1, 0.1 + 1.959964 * 0.0094868 + 0.001])
    strict, here, lax = norm.cdf(norm.ppf(ends) + norm.ppf(0.4) - norm.ppf(0.1))
    low, strict_low = (beta.ppf(0.025, 1000 * share, 1001 - 1000 * share) for share in (here, strict))
    high, lax_high = (beta.ppf(0.975, 1000 * share + 1, 1000 - 1000 * share) for share in (here, lax))
    least = min(here - hypot(here - low, here - strict), strict - 0.4 * (strict - strict_low))
    most = max(here + hypot(high - here, lax - here), lax + 0.4 * (lax_high - lax))
    assert tpr_half_width(0.4, 0.1, 1000) == pytest.approx((most - least) / 2, rel=1e-5)


@settings(max_examples=40)
@given(targets, st.floats(0.05, 0.95), st.floats(0.01, 0.2))
def test_images_are_the_inverse_of_the_half_width(target, share, half_width):
    tpr = target + share * (1 - target)
    n = tpr_images(tpr, target, half_width)
    assert tpr_half_width(tpr, target, n) <= half_width
    assert n == ranked_images(target) or tpr_half_width(tpr, target, n - 1) > half_width


@settings(max_examples=40)
@given(targets, st.floats(0.02, 0.95))
def test_images_to_see_are_the_inverse_of_the_smallest_that_is_seen(target, share):
    tpr = target + share * (1 - target)
    n = tpr_images_to_see(tpr, target)
    assert smallest_detectable_tpr(target, n, n) <= tpr + 1e-9
    if n > ranked_images(target):
        assert smallest_detectable_tpr(target, n - 1, n - 1) > tpr - 1e-9


@pytest.mark.parametrize("target", [0.1, 0.01])
def test_more_images_never_widen_and_never_blind(target):
    sizes = np.unique(np.geomspace(5 / target, 5000 / target, 60).astype(int))
    for tpr in (1.5 * target, 0.3, 0.9):
        assert (np.diff([tpr_half_width(tpr, target, int(n)) for n in sizes]) < 0).all()
    assert (np.diff([smallest_detectable_tpr(target, int(n), int(n)) for n in sizes]) < 0).all()


def test_ten_false_alarms_are_the_least():
    for target in (0.1, 0.01, 0.001, 0.03, 0.07):
        n = ranked_images(target)
        assert not few_negatives(target, n)
        assert few_negatives(target, n - 1)
        assert tpr_images(0.5, target, 0.9) == n


@pytest.mark.parametrize(
    ("tpr", "target", "n"),
    [(0.3, 0.1, 300), (0.9, 0.1, 1000), (0.3, 0.01, 1000), (0.05, 0.01, 3000), (0.2, 0.001, 10000)],
)
def test_intervals_come_out_as_wide_as_was_planned(tpr, target, n):
    assert simulated(tpr, target, n, 150)[0] == pytest.approx(tpr_half_width(tpr, target, n), rel=0.11)


@pytest.mark.parametrize(("target", "n"), [(0.1, 100), (0.1, 300), (0.01, 1000), (0.01, 3000), (0.001, 10000)])
def test_power_is_what_is_promised(target, n):
    tpr = smallest_detectable_tpr(target, n, n)
    assert 0.7 <= simulated(tpr, target, n, 400)[1] <= 0.93


def test_power_with_unequal_groups():
    rng = np.random.default_rng(0)
    for members, nonmembers in ((200, 3000), (3000, 300)):
        tpr = smallest_detectable_tpr(0.1, members, nonmembers)
        shift = norm.ppf(tpr) - norm.ppf(0.1)
        draws = ((rng.normal(shift, 1, members), rng.normal(size=nonmembers)) for _ in range(400))
        assert 0.7 <= np.mean([tpr_at_fpr(*draw, 0.1).estimate.low > 0.1 for draw in draws]) <= 0.93


def test_too_few_nonmembers_see_nothing():
    assert smallest_detectable_tpr(0.01, 300, 300) is None
    assert simulated(0.999, 0.01, 300, 100)[1] == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: tpr_half_width(0.1, 0.1, 100),
        lambda: tpr_half_width(1.0, 0.1, 100),
        lambda: tpr_half_width(0.5, 0.0, 100),
        lambda: tpr_half_width(0.5, 0.1, 0),
        lambda: tpr_images(0.5, 0.1, 0.0),
        lambda: tpr_images_to_see(0.05, 0.1),
        lambda: smallest_detectable_tpr(1.0, 10, 10),
        lambda: smallest_detectable_tpr(0.5, 0, 10),
        lambda: ranked_images(0.0),
    ],
)
def test_refuses_nonsense(call):
    with pytest.raises(ValueError):
        call()


if __name__ == "__main__":
    for target in (0.1, 0.01, 0.001):
        for n in (100, 300, 1000, 3000, 10000, 30000):
            if few_negatives(target, n):
                continue
            for tpr in (0.15, 0.3, 0.6, 0.9):
                width = simulated(tpr, target, n, 200)[0]
                print(f"{target} n {n} tpr {tpr} width foretold / real {tpr_half_width(tpr, target, n) / width:.3f}")
            least = smallest_detectable_tpr(target, n, n)
            print(f"{target} n {n} least {least:.4f} power {simulated(least, target, n, 1000)[1]:.3f}", flush=True)
