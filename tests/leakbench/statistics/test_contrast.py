"""AUCs of disjoint images compared: ends written out, the p value as the interval's inverse, and rates of error.

Run as a program, it prints what the module's docstring says:
    OMP_NUM_THREADS=1 python tests/leakbench/statistics/test_contrast.py
"""

from __future__ import annotations

from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from leakbench.statistics import auc, contrast
from leakbench.statistics.auc import measured

values = st.lists(st.integers(-6, 6), min_size=2, max_size=15).map(lambda v: np.array(v, dtype=float))


def drawn(rng, n, area):
    return rng.normal(ndtri(area) * np.sqrt(2), 1, n), rng.normal(size=n)


def plain_z(first, second):
    a, b = measured(*first), measured(*second)
    error = hypot(a.error, b.error)
    if error == 0:
        return float(a.value == b.value)
    return 2 * ndtr(-abs(a.value - b.value) / error)


def rejections(n, area, repetitions, alpha=0.05, seed=0):
    """How often two equal AUCs differ at `alpha`: by `contrast`, and by a plain z."""
    rng = np.random.default_rng(seed)
    pairs = [(drawn(rng, n, area), drawn(rng, n, area)) for _ in range(repetitions)]
    ours = [contrast(pair).p_value < alpha for pair in pairs]
    return np.mean(ours), np.mean([plain_z(*pair) < alpha for pair in pairs])


def test_ends_are_movers():
    rng = np.random.default_rng(0)
    groups = [drawn(rng, 60, 0.8), drawn(rng, 90, 0.6), drawn(rng, 40, 0.7)]
    a, b, c = (auc(*group) for group in groups)
    found = contrast(groups, [1.0, -0.25, -0.75]).estimate
    value = a.value - 0.25 * b.value - 0.75 * c.value
    low = value - np.linalg.norm([a.value - a.low, 0.25 * (b.high - b.value), 0.75 * (c.high - c.value)])
    high = value + np.linalg.norm([a.high - a.value, 0.25 * (b.value - b.low), 0.75 * (c.value - c.low)])
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high))
    assert found.n == 40


@given(values, values, values, values)
def test_p_value_is_where_the_interval_begins_to_hold_zero(a, b, c, d):
    groups = [(a, b), (c, d)]
    p = contrast(groups).p_value
    assert 0 <= p <= 1
    if p < 0.99:
        outside = contrast(groups, level=1 - min(0.999, p * 1.01 + 1e-9)).estimate
        assert outside.low > 0 or outside.high < 0
    if p > 1e-9:
        inside = contrast(groups, level=1 - p * 0.99).estimate
        assert inside.low <= 0 <= inside.high


@given(values, values, values, values)
def test_order_changes_the_sign_and_nothing_else(a, b, c, d):
    one, other = contrast([(a, b), (c, d)]), contrast([(c, d), (a, b)])
    assert one.p_value == pytest.approx(other.p_value)
    assert one.estimate.low == pytest.approx(-other.estimate.high)


def test_agrees_with_a_plain_z_where_images_are_many():
    rng = np.random.default_rng(0)
    groups = [drawn(rng, 4000, 0.7), drawn(rng, 4000, 0.68)]
    assert contrast(groups).p_value == pytest.approx(plain_z(*groups), rel=0.03)


@pytest.mark.parametrize("area", [0.5, 0.9])
@pytest.mark.parametrize("n", [5, 50])
def test_equal_areas_are_rarely_told_apart(n, area):
    assert rejections(n, area, 1000)[0] <= 0.07


def test_few_images_that_are_in_order_by_luck_are_no_certainty():
    # A plain z has no variance there, and a p value of 0.
    ours, plain = rejections(5, 0.5, 2000, alpha=0.005)
    assert ours <= 0.005 < 0.01 < plain


def test_perfect_twice_is_no_difference_and_perfect_against_inverted_is_one():
    above, below = np.arange(30) + 100.0, np.arange(30.0)
    assert contrast([(above, below), (above, below)]).p_value == 1
    assert contrast([(above, below), (below, above)]).p_value < 1e-6


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0, 0.0]])
def test_one_weight_a_group(weights):
    with pytest.raises(ValueError, match="one weight"):
        contrast([([1, 2], [0, 1]), ([1, 2], [0, 1])], weights)


if __name__ == "__main__":
    for alpha in (0.05, 0.005):
        for n in (5, 10, 20, 50, 100):
            for area in (0.5, 0.7, 0.9):
                print(alpha, n, area, *(f"{share:.4f}" for share in rejections(n, area, 4000, alpha)), flush=True)
