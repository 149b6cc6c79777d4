"""Balanced accuracy: the threshold belongs to calibration, the number to the reported images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score

from leakbench.statistics import balanced_accuracy

values = st.lists(st.integers(-5, 5), min_size=1, max_size=30).map(lambda v: np.array(v, dtype=float))


@given(values, values, values, values)
def test_threshold_is_the_highest_of_the_best_on_calibration(member, nonmember, cal_member, cal_nonmember):
    found = balanced_accuracy(member, nonmember, cal_member, cal_nonmember)
    gain = {t: np.mean(cal_member >= t) - np.mean(cal_nonmember >= t) for t in [np.inf, *cal_member, *cal_nonmember]}
    best = max(gain.values())
    assert found.threshold == max(t for t, g in gain.items() if g > best - 1e-12)


@given(values, values, values, values)
def test_value_is_scikit_learns_at_that_threshold(member, nonmember, cal_member, cal_nonmember):
    found = balanced_accuracy(member, nonmember, cal_member, cal_nonmember)
    labels = np.r_[np.ones(member.size), np.zeros(nonmember.size)]
    guesses = np.r_[member, nonmember] >= found.threshold
    estimate = found.estimate
    assert estimate.value == pytest.approx(balanced_accuracy_score(labels, guesses))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@given(values, values, values, values)
def test_reported_scores_do_not_move_the_threshold(member, nonmember, cal_member, cal_nonmember):
    one = balanced_accuracy(member, nonmember, cal_member, cal_nonmember)
    other = balanced_accuracy(nonmember * 3 + 1, member - 7, cal_member, cal_nonmember)
    assert one.threshold == other.threshold


@pytest.mark.parametrize("separation", [0.0, 1.0, 3.0])
def test_coverage_at_the_frozen_threshold(separation):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        draws = [rng.normal(shift, 1, 200) for shift in (separation, 0, separation, 0)]
        found = balanced_accuracy(*draws)
        truth = (norm.sf(found.threshold - separation) + norm.cdf(found.threshold)) / 2
        covered += found.estimate.low <= truth <= found.estimate.high
    assert 0.94 <= covered / 1000 <= 0.995


def test_a_useless_attack_stays_at_one_half_on_average():
    rng = np.random.default_rng(0)
    found = [balanced_accuracy(*rng.normal(size=(4, 200))).estimate.value for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.004)


def test_an_inverted_attack_is_not_flipped():
    assert balanced_accuracy([0, 0], [1, 1], [0, 0], [1, 1]).estimate.value == 0.5


def test_n_is_the_smaller_reported_group():
    assert balanced_accuracy([1, 2, 3], [0, 1], [1, 2], [0]).estimate.n == 2


def test_refuses_nan_in_any_place():
    for place in range(4):
        groups = [[1.0, 2.0] if i != place else [1.0, np.nan] for i in range(4)]
        with pytest.raises(ValueError):
            balanced_accuracy(*groups)
