"""The exact ROC against scikit-learn, against counting by hand, and under what must change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as sklearn_roc_curve

from leakbench.statistics import roc_curve

# Few distinct values make ties; small integers keep transforms exact.
few_values = st.lists(st.integers(-4, 4), min_size=1, max_size=25).map(lambda v: np.array(v, dtype=float))
many_values = st.lists(st.integers(-1000, 1000), min_size=1, max_size=25).map(lambda v: np.array(v, dtype=float))
scores = st.one_of(few_values, many_values)
rates = st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.2, 0.29, 1 / 3, 0.5, 0.7, 1.0])


def best_by_hand(member, nonmember, target):
    """Every rule `score >= threshold`, one by one."""
    thresholds = [np.inf, *member, *nonmember]
    return max(np.mean(member >= t) for t in thresholds if np.mean(nonmember >= t) <= target)


@given(scores, scores)
def test_same_steps_as_scikit_learn(member, nonmember):
    ours = roc_curve(member, nonmember)
    labels = np.r_[np.ones(member.size), np.zeros(nonmember.size)]
    fpr, tpr, thresholds = sklearn_roc_curve(labels, np.r_[member, nonmember], drop_intermediate=False)
    np.testing.assert_allclose(ours.fpr, fpr)
    np.testing.assert_allclose(ours.tpr, tpr)
    np.testing.assert_array_equal(ours.thresholds, thresholds)


@given(scores, scores, rates)
def test_at_fpr_is_the_best_rule_within_the_target(member, nonmember, target):
    point = roc_curve(member, nonmember).at_fpr(target)
    assert point.tpr == best_by_hand(member, nonmember, target)
    assert point.fpr <= target


@given(scores, scores, rates)
def test_the_threshold_does_what_the_point_says(member, nonmember, target):
    point = roc_curve(member, nonmember).at_fpr(target)
    assert np.mean(member >= point.threshold) == point.tpr
    assert np.mean(nonmember >= point.threshold) == point.fpr


@given(scores, scores)
def test_monotone_transforms_move_only_the_thresholds(member, nonmember):
    before, after = roc_curve(member, nonmember), roc_curve(member**3 * 2 + 5, nonmember**3 * 2 + 5)
    np.testing.assert_array_equal(before.fpr, after.fpr)
    np.testing.assert_array_equal(before.tpr, after.tpr)
    np.testing.assert_array_equal(before.thresholds**3 * 2 + 5, after.thresholds)


@given(scores, scores)
def test_swapping_the_classes_mirrors_the_curve(member, nonmember):
    one, other = roc_curve(member, nonmember), roc_curve(nonmember, member)
    np.testing.assert_array_equal(one.fpr, other.tpr)
    np.testing.assert_array_equal(one.tpr, other.fpr)


@given(scores, scores, st.randoms(use_true_random=False))
def test_order_of_images_does_not_matter(member, nonmember, random):
    shuffled = [random.sample(list(group), group.size) for group in (member, nonmember)]
    before, after = roc_curve(member, nonmember), roc_curve(*shuffled)
    np.testing.assert_array_equal(before.fpr, after.fpr)
    np.testing.assert_array_equal(before.tpr, after.tpr)


def test_a_block_of_ties_is_never_split():
    # The block at 1 holds every member and two of four nonmembers: half of it would be TPR .5 at FPR .25.
    point = roc_curve([1, 1, 1, 1], [1, 1, 0, 0]).at_fpr(0.25)
    assert (point.tpr, point.fpr, point.threshold) == (0.0, 0.0, np.inf)


@pytest.mark.parametrize(("target", "n", "allowed"), [(0.1, 30, 3), (0.29, 100, 29), (0.001, 3000, 3), (0.07, 100, 7)])
def test_targets_that_a_float_product_would_miss(target, n, allowed):
    point = roc_curve([-1.0], np.arange(n)).at_fpr(target)
    assert point.fpr == allowed / n


@pytest.mark.parametrize("bad", [[], [np.nan], [np.inf], [[1.0, 2.0]]])
def test_refuses_what_is_not_a_list_of_numbers(bad):
    with pytest.raises(ValueError):
        roc_curve(bad, [0.0])
    with pytest.raises(ValueError):
        roc_curve([0.0], bad)


@pytest.mark.parametrize("target", [-0.1, 1.1, np.nan])
def test_refuses_a_target_that_is_no_rate(target):
    with pytest.raises(ValueError):
        roc_curve([1.0], [0.0]).at_fpr(target)
