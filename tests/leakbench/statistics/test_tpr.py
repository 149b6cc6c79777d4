"""TPR at a fixed FPR: the point, the ends of the interval, and above all its coverage.

Run as a program, it prints the table of the module's docstring:
    OMP_NUM_THREADS=1 python tests/leakbench/statistics/test_tpr.py
"""

from __future__ import annotations

from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from leakbench.statistics import clopper_pearson, few_negatives, tpr_at_fpr, tpr_at_threshold

few_values = st.lists(st.integers(-4, 4), min_size=1, max_size=40).map(lambda v: np.array(v, dtype=float))
many_values = st.lists(st.integers(-1000, 1000), min_size=1, max_size=40).map(lambda v: np.array(v, dtype=float))
scores = st.one_of(few_values, many_values)
targets = st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.5])


def covered(draw, truth, m, n, target, repetitions, seed=0):
    """The shares of repetitions in which our interval, and Clopper-Pearson alone, hold the population's TPR."""
    rng = np.random.default_rng(seed)
    ours = alone = 0
    for _ in range(repetitions):
        member, nonmember = draw(rng, m, n)
        found = tpr_at_fpr(member, nonmember, target)
        frozen = tpr_at_threshold(member, found.threshold)
        ours += found.estimate.low <= truth <= found.estimate.high
        alone += frozen.low <= truth <= frozen.high
    return ours / repetitions, alone / repetitions


def binormal_covered(separation, n, target, repetitions, m=None):
    truth = norm.sf(norm.isf(target) - separation)
    draw = lambda rng, m, n: (rng.normal(separation, 1, m), rng.normal(size=n))  # noqa: E731
    return covered(draw, truth, m or n, n, target, repetitions)


@pytest.mark.parametrize(
    ("separation", "n", "target", "repetitions"),
    [
        *((separation, 300, 0.1, 1500) for separation in (0, 1, 2, 3)),
        *((separation, 1000, target, 1000) for separation in (0, 3) for target in (0.1, 0.01)),
        *((1, 10000, target, 400) for target in (0.1, 0.01, 0.001)),
    ],
)
def test_coverage_where_the_negatives_suffice(separation, n, target, repetitions):
    # 95 to 98.5 % in the long run (see the module's docstring); the bounds leave room for the repetitions.
    ours, alone = binormal_covered(separation, n, target, repetitions)
    assert 0.94 <= ours <= 0.99
    assert alone < 0.93


@pytest.mark.parametrize(("n", "target"), [(300, 0.01), (300, 0.001), (1000, 0.001)])
@pytest.mark.parametrize("separation", [0, 2])
def test_coverage_is_kept_with_few_negatives(separation, n, target):
    assert binormal_covered(separation, n, target, 600)[0] >= 0.96


@pytest.mark.parametrize(("m", "n"), [(200, 2000), (2000, 200)])
def test_coverage_with_unequal_groups(m, n):
    assert 0.94 <= binormal_covered(1, n, 0.1, 800, m=m)[0] <= 0.99


def test_coverage_with_blocks_of_ties():
    # Scores 0..9; nonmembers uniform, members leaning upwards. At FPR <= .25 the best rule is `score >= 8`, FPR .2.
    weights = np.arange(1, 11) / 55
    draw = lambda rng, m, n: (rng.choice(10, m, p=weights), rng.integers(0, 10, n))  # noqa: E731
    assert covered(draw, weights[8:].sum(), 300, 300, 0.25, 1000)[0] >= 0.94


def test_coverage_at_a_kink():
    # The ROC is flat at .9 above FPR .1 and falls steeply below it: without a margin at the ends 87 % are covered.
    def draw(rng, m, n):
        u = rng.random(m)
        return np.where(u < 0.9, 0.9 + 0.1 * u / 0.9, 0.0), rng.random(n)

    assert covered(draw, 0.9, 300, 300, 0.1, 1500)[0] >= 0.89


def test_ends_written_out():
    # 100 nonmembers 0..99, members one above each second of them; of Binomial(100, .1) 2.5 % lie below 5, and above 16.
    nonmember, member = np.arange(100.0), np.arange(0, 100, 2) + 0.5
    found = tpr_at_fpr(member, nonmember, 0.1)
    assert (binom.ppf(0.025, 100, 0.1), binom.ppf(0.975, 100, 0.1)) == (5, 16)
    above = {rank: np.mean(member > np.sort(nonmember)[-rank]) for rank in (5, 11, 17)}
    p, k = above[11], round(above[11] * 50)
    low, high = beta.ppf(0.025, k, 51 - k), beta.ppf(0.975, k + 1, 50 - k)
    assert found.estimate.value == p
    assert found.estimate.low == pytest.approx(max(0, p - hypot(p - low, p - above[5])))
    assert found.estimate.high == pytest.approx(p + hypot(high - p, above[17] - p))
    assert (found.realised_fpr, found.threshold, found.few_negatives) == (0.1, 90.0, False)


def test_members_level_with_the_end_of_the_thresholds_interval_are_not_counted_on():
    # The true threshold may lie as high as just above the fifth largest nonmember, 95: then no member passes.
    assert tpr_at_fpr(np.full(50, 95.0), np.arange(100.0), 0.1).estimate.low == 0


@given(scores, scores, targets)
def test_interval_holds_the_value_and_clopper_pearson(member, nonmember, target):
    found = tpr_at_fpr(member, nonmember, target)
    frozen = tpr_at_threshold(member, found.threshold)
    assert frozen.value == found.estimate.value
    assert 0 <= found.estimate.low <= frozen.low <= frozen.high <= found.estimate.high <= 1
    assert found.realised_fpr <= target


@given(scores, scores, targets, st.randoms(use_true_random=False))
def test_monotone_transforms_and_order_change_nothing(member, nonmember, target, random):
    shuffled = [random.sample(list(group**3), group.size) for group in (member, nonmember)]
    moved, found = tpr_at_fpr(*shuffled, target), tpr_at_fpr(member, nonmember, target)
    assert moved.estimate == found.estimate
    assert moved.realised_fpr == found.realised_fpr
    assert moved.threshold == found.threshold**3


def test_too_few_negatives_promise_nothing():
    # 50 nonmembers cannot tell where one false alarm in 1,000 lies.
    found = tpr_at_fpr(np.zeros(50), np.arange(50) + 1.0, 0.001)
    assert found.estimate.low == 0
    assert found.few_negatives


@pytest.mark.parametrize(
    ("target", "n", "few"), [(0.01, 1000, False), (0.01, 999, True), (0.001, 10000, False), (0.1, 99, True)]
)
def test_few_negatives_means_under_ten_false_alarms(target, n, few):
    assert few_negatives(target, n) is few


def test_level_widens_the_interval():
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(1, 1, 300), rng.normal(size=300)
    narrow, wide = (tpr_at_fpr(member, nonmember, 0.1, level).estimate for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_frozen_threshold_is_a_plain_proportion():
    assert tpr_at_threshold([0, 1, 2, 3], 2) == clopper_pearson(2, 4)
    assert tpr_at_threshold([0, 1], np.inf).value == 0


@pytest.mark.parametrize("target", [0, 1, -0.1, np.nan])
def test_refuses_a_target_outside_the_open_range(target):
    with pytest.raises(ValueError):
        tpr_at_fpr([1.0], [0.0], target)


def test_refuses_a_threshold_that_is_no_number():
    with pytest.raises(ValueError):
        tpr_at_threshold([1.0], np.nan)


if __name__ == "__main__":
    for n, repetitions in ((300, 4000), (1000, 4000), (10000, 1000)):
        for target in (0.1, 0.01, 0.001):
            row = [binormal_covered(separation, n, target, repetitions) for separation in (0, 0.5, 1, 2, 3)]
            star = "*" if few_negatives(target, n) else " "
            print(f"    {n:6} {target:<5}{star}", "  ".join(f"{a:.3f} ({b:.2f})" for a, b in row), flush=True)
