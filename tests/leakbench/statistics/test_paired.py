"""Paired differences: size, power and cover in simulation, exact values, and what pairing gains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from leakbench.statistics import (
    Estimate,
    delong_pair,
    independent_difference,
    paired_by_shares,
    paired_over_seeds,
    proportion,
    proportion_pair,
    tpr_at_fpr,
    tpr_pair,
)
from leakbench.statistics.paired import PairedDifference

RUNS = 500


def scored(rng, n, first, second, correlation):
    """Scores of two attacks on the same n members and n nonmembers, normal, members shifted."""
    sides = []
    for shifts in ((first, second), (0.0, 0.0)):
        shared = rng.normal(size=n) * np.sqrt(correlation)
        sides += [shared + rng.normal(size=n) * np.sqrt(1 - correlation) + shift for shift in shifts]
    return sides[0], sides[2], sides[1], sides[3]


def copied(rng, n, first, second, correlation):
    """Copies among the samples of two releases drawn from the same n seeds."""
    shared = rng.normal(size=n) * np.sqrt(correlation)
    own = rng.normal(size=(2, n)) * np.sqrt(1 - correlation)
    return shared + own[0] < norm.ppf(first), shared + own[1] < norm.ppf(second)


def rejected(pairs):
    return np.mean([pair.p_value < 0.05 for pair in pairs])


@pytest.mark.parametrize(("n", "shift"), [(60, 0.0), (300, 0.0), (300, 2.0)])
def test_equal_aucs_are_told_apart_in_five_of_a_hundred(n, shift):
    rng = np.random.default_rng(1)
    assert rejected(delong_pair(*scored(rng, n, shift, shift, 0.5)) for _ in range(RUNS)) <= 0.08


def test_a_change_of_a_tenth_in_auc_is_seen_at_300_images():
    rng = np.random.default_rng(2)
    shifts = [norm.ppf(area) * np.sqrt(2) for area in (0.8, 0.7)]
    assert rejected(delong_pair(*scored(rng, 300, *shifts, 0.5)) for _ in range(100)) >= 0.95


@pytest.mark.parametrize(("n", "target", "shift", "correlation"), [(300, 0.1, 0, 0.9), (300, 0.1, 2, 0.5)])
def test_equal_tprs_are_told_apart_in_five_of_a_hundred(n, target, shift, correlation):
    rng = np.random.default_rng(3)
    found = [tpr_pair(*scored(rng, n, shift, shift, correlation), target) for _ in range(RUNS)]
    assert 0.01 <= rejected(found) <= 0.08
    assert np.mean([pair.difference.low <= 0 <= pair.difference.high for pair in found]) >= 0.91


def test_a_fall_of_a_tpr_is_seen_better_in_pairs():
    rng = np.random.default_rng(4)
    drawn = [scored(rng, 300, 1.5, 1.15, 0.9) for _ in range(60)]
    paired = rejected(tpr_pair(*four, 0.1) for four in drawn)
    apart = rejected(
        independent_difference(*(tpr_at_fpr(*two, 0.1).estimate for two in (four[:2], four[2:]))) for four in drawn
    )
    assert paired >= 0.9 and apart <= 0.6


def test_tpr_difference_is_that_of_the_two_and_turns_with_them():
    four = scored(np.random.default_rng(5), 100, 1.0, 0.5, 0.5)
    one, other = tpr_pair(*four, 0.1), tpr_pair(*four[2:], *four[:2], 0.1)
    values = [tpr_at_fpr(*two, 0.1).estimate.value for two in (four[:2], four[2:])]
    assert one.difference.value == pytest.approx(values[0] - values[1]) == -other.difference.value
    assert one.p_value == pytest.approx(other.p_value)
    assert one.difference.low == pytest.approx(-other.difference.high)
    same = tpr_pair(*four[:2], *four[:2], 0.1)
    assert same.p_value == 1 and same.difference.low < 0 < same.difference.high


def test_groups_of_equal_images_make_the_interval_of_a_tpr_as_wide_as_the_groups_alone():
    four = scored(np.random.default_rng(6), 80, 1.0, 0.5, 0.5)
    thrice = [np.repeat(side, 3) for side in four]
    people = np.repeat(np.arange(80), 3), np.repeat(np.arange(80, 160), 3)
    alone, together = tpr_pair(*four, 0.25).difference, tpr_pair(*thrice, 0.25, groups=people).difference
    assert together.groups == 80 and together.n == 240
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.1)


@pytest.mark.parametrize(("rate", "correlation"), [(0.02, 0.0), (0.02, 0.9), (0.2, 0.5), (0.001, 0.5)])
def test_equal_copy_rates_are_told_apart_in_five_of_a_hundred(rate, correlation):
    rng = np.random.default_rng(7)
    found = [proportion_pair(*copied(rng, 500, rate, rate, correlation)) for _ in range(RUNS)]
    assert rejected(found) <= 0.07
    assert np.mean([pair.difference.low <= 0 <= pair.difference.high for pair in found]) >= 0.93


def test_copies_that_end_are_seen_better_in_pairs():
    rng = np.random.default_rng(8)
    drawn = [copied(rng, 1000, 0.06, 0.04, 0.9) for _ in range(100)]
    paired = rejected(proportion_pair(*two) for two in drawn)
    apart = rejected(independent_difference(*(proportion(side) for side in two)) for two in drawn)
    assert paired >= 0.75 and apart <= 0.65


def test_copy_rates_by_mcnemar():
    first, second = np.zeros(50, dtype=bool), np.zeros(50, dtype=bool)
    first[:9], second[8:10] = True, True  # 8 alone on the first side, 1 alone on the second, 1 on both
    pair = proportion_pair(first, second)
    assert pair.p_value == pytest.approx(binomtest(1, 9).pvalue)
    assert pair.difference.value == pytest.approx(7 / 50) and pair.difference.n == 50
    assert proportion_pair(first, first).p_value == 1


@pytest.mark.parametrize(("true", "least", "most"), [(0.0, 0.01, 0.08), (0.3, 0.8, 1.0)])
def test_shares_pair_means_as_the_paired_t_test_does(true, least, most):
    rng = np.random.default_rng(9)
    found = []
    for _ in range(RUNS):
        shared = rng.normal(size=100)
        a, b = shared + 0.7 * rng.normal(size=100) + true, shared + 0.7 * rng.normal(size=100)
        sides = [Estimate(x.mean(), np.nan, np.nan, 100) for x in (a, b)]
        found.append(paired_by_shares(*sides, [(a - a.mean()) / 100], [(b - b.mean()) / 100]))
    assert least <= rejected(found) <= most


def test_of_one_and_the_same_samples_an_unbounded_metric_does_not_differ():
    one, shares = Estimate(3.0, 2.0, 4.0, 10), [np.arange(4.0)]
    pair = paired_by_shares(one, one, shares, shares)
    assert (pair.difference.low, pair.difference.high, pair.p_value) == (0, 0, 1)
    with pytest.raises(ValueError, match="same units"):
        paired_by_shares(one, one, shares, [np.arange(3.0)])


def test_without_anything_in_common_as_two_normal_numbers():
    a, b = (Estimate(v, v - 1.96 * s, v + 1.96 * s, 10) for v, s in ((5.0, 0.3), (4.0, 0.4)))
    found = independent_difference(a, b)
    assert found.p_value == pytest.approx(2 * norm.sf(2), rel=1e-3)
    assert found.difference.high - 1 == pytest.approx(1.96 * 0.5)
    assert np.isnan(independent_difference(a, Estimate(1.0, np.nan, np.nan, 3)).p_value)


def test_over_seeds_a_difference_is_one_at_every_seed():
    up, more, down = (
        PairedDifference(Estimate(v, v - 0.1, v + 0.1, 10), p) for v, p in ((0.2, 0.01), (0.3, 0.001), (-0.2, 0.01))
    )
    joined = paired_over_seeds([up, more])
    assert joined.p_value == 0.01 and joined.difference.value == pytest.approx(0.25)
    assert (joined.difference.low, joined.difference.high) == pytest.approx((0.1, 0.4))
    assert paired_over_seeds([up, down]).p_value == 1


@pytest.mark.parametrize("sizes", [(3, 3, 2, 3), (3, 3, 3, 2)])
def test_pairs_are_of_the_same_images(sizes):
    with pytest.raises(ValueError, match="same images"):
        tpr_pair(*(np.arange(float(size)) for size in sizes), 0.5)
    with pytest.raises(ValueError, match="same sample seeds"):
        proportion_pair([True, False], [True])
