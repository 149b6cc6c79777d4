"""Set-level inference: Welch's test against scipy, the control at one half, and what a finite pool does."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy.stats import ttest_ind

from leakbench.statistics import set_inference
from leakbench.statistics.sets import welch


def test_welch_is_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.4, 2, (200, 12)), rng.gamma(1.0, size=(200, 12))
    expected = ttest_ind(first, second, axis=1, equal_var=False, alternative="greater").pvalue
    np.testing.assert_allclose(welch(first, second), expected, rtol=1e-10)


def test_welch_without_spread_is_the_permutation_test():
    ones, zeros = np.ones((1, 5)), np.zeros((1, 5))
    assert welch(ones, zeros) == 1 / comb(10, 5)
    assert welch(zeros, ones) == welch(ones, ones) == 1


def test_draws_are_sets_without_repetition_from_each_side():
    # Twenty members and twenty nonmembers: the draw of twenty is all of them, every time.
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(0.5, 1, 20), rng.normal(size=20)
    found = set_inference(member, nonmember, sizes=[20]).by_size[0]
    everything = ttest_ind(member, nonmember, equal_var=False, alternative="greater").pvalue
    assert found.p_value == pytest.approx(everything)
    assert (found.low, found.high) == (pytest.approx(everything), pytest.approx(everything))


def test_mean_and_spread_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(0.7, 1, 400), rng.normal(size=400)
    found = set_inference(member, nonmember, sizes=[10]).by_size[0]
    draws = [[rng.choice(side, 10, replace=False) for side in (member, nonmember)] for _ in range(2000)]
    p = ttest_ind(*np.swapaxes(draws, 0, 1), axis=1, equal_var=False, alternative="greater").pvalue
    assert found.p_value == pytest.approx(np.mean(p), abs=0.02)
    assert found.high == pytest.approx(np.quantile(p, 0.975), abs=0.08)
    assert found.rejected == pytest.approx(np.mean(p < 0.01), abs=0.05)


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_nonmembers_against_nonmembers_have_mean_p_of_one_half(draw):
    rng = np.random.default_rng(0)
    means = []
    for _ in range(30):
        scores = getattr(rng, draw)(size=600)
        found = set_inference(scores[:300], scores[300:], sizes=[5, 20], draws=300)
        assert found.smallest is None
        means.append([one.p_value for one in found.by_size])
    np.testing.assert_allclose(np.mean(means, axis=0), 0.5, atol=0.04)


def test_smallest_size_falls_as_leakage_grows():
    rng = np.random.default_rng(0)
    nonmember = rng.normal(size=1000)
    smallest = [set_inference(rng.normal(shift, 1, 1000), nonmember).smallest for shift in (0.0, 0.7, 1.2, 4.0)]
    assert smallest[0] is None
    assert smallest[1] > smallest[2] > smallest[3] == 5


def test_inverted_scores_never_reject():
    rng = np.random.default_rng(0)
    found = set_inference(rng.normal(-2, 1, 100), rng.normal(size=100))
    assert found.smallest is None
    assert found.by_size[-1].p_value > 0.99


def test_sizes_beyond_the_smaller_pool_are_left_out():
    rng = np.random.default_rng(0)
    found = set_inference(rng.normal(size=60), rng.normal(size=30))
    assert [one.size for one in found.by_size] == [5, 10, 20]
    assert set_inference([1.0, 2.0], [0.0, 1.0]).by_size == ()


def test_a_size_does_not_depend_on_the_others_and_the_seed_repeats():
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(size=(2, 100))
    both, alone = set_inference(member, nonmember, [5, 10]), set_inference(member, nonmember, [10])
    assert both.by_size[1] == alone.by_size[0]
    assert set_inference(member, nonmember, [10], seed=1) != alone


def test_scores_as_large_as_floats_go():
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(3, 1, 50), rng.normal(size=50)
    member[0] = np.finfo(float).max
    found = set_inference(member, nonmember, [10, 20])
    assert all(0 < one.p_value < 0.1 for one in found.by_size)


@pytest.mark.parametrize(
    "wrong", [{"sizes": [1]}, {"sizes": []}, {"draws": 0}, {"significance": 0.0}, {"suspected": [np.nan, 1.0]}]
)
def test_refuses_nonsense(wrong):
    with pytest.raises(ValueError):
        set_inference(**{"suspected": [1.0, 2.0], "nonmember": [0.0, 1.0], **wrong})
