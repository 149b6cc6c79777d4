"""Clopper-Pearson against scipy and the reference page; the difference of two proportions by exact coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from leakbench.statistics import clopper_pearson, difference


@pytest.mark.parametrize(
    ("k", "n", "low", "high", "digits"),
    [
        (25, 25000, 0.00065, 0.00148, 5),
        (250, 25000, 0.0088, 0.0113, 4),
        (2, 2500, 0.0001, 0.0029, 4),
        (10, 1000, 0.0048, 0.0183, 4),
        (0, 1000, 0.0, 0.0037, 4),
    ],
)
def test_vectors_of_the_reference_page(k, n, low, high, digits):
    found = clopper_pearson(k, n)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 40), (1, 40), (20, 40), (39, 40), (40, 40), (3, 20000)])
def test_same_as_scipy(k, n, level):
    expected = binomtest(k, n).proportion_ci(level, method="exact")
    found = clopper_pearson(k, n, level)
    assert (found.value, found.n) == (k / n, n)
    # scipy finds its bounds by root finding, to about 1e-9.
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high], rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize(("k", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_refuses_what_is_no_proportion(k, n, level):
    with pytest.raises(ValueError):
        clopper_pearson(k, n, level)


def exact_coverage(n1, p1, n2, p2):
    """The probability that the interval holds p1 - p2, summed over all outcomes that are not negligible."""
    outcomes = [[(k, binom.pmf(k, n, p)) for k in range(n + 1)] for n, p in ((n1, p1), (n2, p2))]
    likely = [[(k, weight) for k, weight in side if weight > 1e-5] for side in outcomes]
    covered = 0.0
    for k1, weight1 in likely[0]:
        for k2, weight2 in likely[1]:
            found = difference(k1, n1, k2, n2)
            covered += weight1 * weight2 * (found.low <= p1 - p2 + 1e-12 and p1 - p2 - 1e-12 <= found.high)
    return covered


@pytest.mark.parametrize(
    ("n1", "p1", "n2", "p2"),
    [
        (100, 0.5, 80, 0.5),
        (100, 0.2, 100, 0.2),
        (200, 0.9, 100, 0.02),
        (300, 0.05, 300, 0.01),
        (1000, 0.01, 500, 0.01),
        (1000, 0.005, 300, 0.0),
    ],
)
def test_difference_covers(n1, p1, n2, p2):
    assert 0.95 <= exact_coverage(n1, p1, n2, p2) <= 0.996


def test_no_copies_anywhere_is_no_certainty():
    found = difference(0, 1000, 0, 1000)
    assert found.value == 0
    assert found.low == -found.high
    assert found.high == pytest.approx(clopper_pearson(0, 1000).high)


def test_difference_changes_sign_with_the_order():
    one, other = difference(30, 1000, 2, 400), difference(2, 400, 30, 1000)
    assert (one.value, one.low, one.high, one.n) == (-other.value, -other.high, -other.low, 400)
    assert one.low > 0


def test_difference_agrees_with_newcombe_in_large_samples():
    # With many trials Clopper-Pearson, Wilson and Wald agree: 1.96 standard errors.
    found = difference(30000, 100000, 20000, 100000)
    half = 1.959964 * np.sqrt(0.3 * 0.7 / 1e5 + 0.2 * 0.8 / 1e5)
    np.testing.assert_allclose([found.low, found.high], [0.1 - half, 0.1 + half], atol=2e-5)


def test_difference_stays_within_its_range():
    found = difference(5, 5, 0, 5)
    assert (found.value, found.high) == (1.0, 1.0)
