"""Differences between sets of trainings: against Student's t test, and by simulation."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from scipy import stats

from leakbench.statistics import Estimate, independent_difference, shrink_variances, trainings_difference


def exact(values):
    """Estimates without noise of images."""
    return [Estimate(float(value), float(value), float(value), 100) for value in values]


def test_without_noise_of_images_it_is_students_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 0.02, 4), rng.normal(0.6, 0.02, 3)
    expected = stats.ttest_ind(a, b)
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    found = trainings_difference(exact(a), exact(b), pooled**0.5, len(a) + len(b) - 2)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    interval = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))


def test_without_noise_of_training_it_is_that_of_two_independent_intervals():
    a, b = Estimate(0.8, 0.75, 0.84, 300), Estimate(0.72, 0.66, 0.77, 200)
    found, expected = trainings_difference([a], [b]), independent_difference(a, b)
    assert found.p_value == pytest.approx(expected.p_value, rel=1e-6)
    assert found.difference == pytest.approx(expected.difference) or found.difference == expected.difference


def test_the_interval_holds_0_where_p_is_above_5_percent():
    a, b = [Estimate(0.8, 0.76, 0.83, 300)] * 2, [Estimate(0.7, 0.65, 0.75, 300)] * 2
    for spread in np.linspace(0, 0.1, 21):
        found = trainings_difference(a, b, spread, 4.0)
        assert (found.p_value > 0.05) == (found.difference.low <= 0)


def test_what_has_no_interval_has_no_p_value():
    found = trainings_difference([Estimate(0.8, nan, nan, 10)], exact([0.7]))
    assert np.isnan(found.p_value) and np.isnan(found.difference.low)
    assert trainings_difference(exact([0.7]), exact([0.7])).p_value == 1
    assert trainings_difference(exact([0.8]), exact([0.7])).p_value == 0
    with pytest.raises(ValueError, match="no training"):
        trainings_difference([], exact([0.7]))


@pytest.mark.parametrize("prior", [3.0, 10.0])
def test_the_prior_of_variances_is_found_again(prior):
    rng, df = np.random.default_rng(1), 2
    truth = 0.04 * prior / rng.chisquare(prior, 50000)
    found = shrink_variances(truth * rng.chisquare(df, truth.size) / df, df)
    assert found.df == pytest.approx(df + prior, rel=0.15)
    assert np.mean(np.log(found.variances)) == pytest.approx(np.mean(np.log(truth)), abs=0.3)


def test_equal_variances_share_all_degrees_of_freedom():
    rng = np.random.default_rng(2)
    found = shrink_variances(0.04 * rng.chisquare(2, 50) / 2, 2)
    assert found.df > 20 and np.ptp(found.variances) < 0.08
    assert shrink_variances([0.1, 0.1, 0.1], 2).df == 6  # no more than there are
    assert shrink_variances([0.1], 2) == shrink_variances([0.1], 2.0) and shrink_variances([0.1], 2).df == 2
    assert shrink_variances([0.0, 0.0], 2).variances == (0.0, 0.0)


@pytest.mark.parametrize("variances, df", [([0.1], 0), ([-0.1], 2)])
def test_what_is_no_variance_is_refused(variances, df):
    with pytest.raises(ValueError, match="variances from 0 up"):
        shrink_variances(variances, df)


def test_of_rows_that_did_not_move_p_is_below_5_percent_in_5_percent():
    """2,000 rows of two seeds a run, whose spreads differ from row to row."""
    rng, rows = np.random.default_rng(3), 2000
    spreads = 0.05 * (4 / rng.chisquare(4, rows)) ** 0.5
    values = rng.normal(size=(rows, 4)) * spreads[:, None]
    shrunk = shrink_variances(values.reshape(rows, 2, 2).var(axis=2, ddof=1).mean(axis=1), 2)
    pairs = zip(values, shrunk.variances, strict=True)
    found = [trainings_difference(exact(v[:2]), exact(v[2:]), s**0.5, shrunk.df).p_value for v, s in pairs]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(found) < 0.001) < 0.004
    assert shrunk.df < inf
