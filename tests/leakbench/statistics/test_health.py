"""Flags say what is wrong with raw scores, and NaN is ordered last."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.statistics import auc, finite, flags


def test_healthy_scores_have_no_flags():
    rng = np.random.default_rng(0)
    assert flags(rng.normal(size=200), rng.normal(size=200), [0.1]) == ()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_in_either_group(bad):
    assert flags([1.0, bad, 3.0], [0.0, 2.0]) == ("non-finite",)
    assert flags([0.0, 2.0], [1.0, bad, 3.0]) == ("non-finite",)


def test_constant_scores():
    assert flags(np.ones(20), np.ones(20)) == ("constant-scores",)
    assert flags(np.full(20, np.nan), np.full(20, np.nan)) == ("constant-scores", "non-finite")
    assert "constant-scores" not in flags(np.ones(20), np.zeros(20))


def test_few_negatives_looks_at_every_target():
    member, nonmember = np.arange(500) + 0.5, np.arange(500.0)
    assert flags(member, nonmember, [0.1, 0.02]) == ()
    assert flags(member, nonmember, [0.1, 0.01]) == ("few-negatives",)


def test_tied_scores_only_where_ties_straddle_a_target():
    member = np.arange(200) + 0.5
    low_block = np.r_[np.zeros(100), np.arange(1, 101)]
    high_block = np.r_[np.arange(100), np.full(100, 150.0)]
    assert flags(member, low_block, [0.1]) == ()
    assert flags(member, high_block, [0.1]) == ("tied-scores",)


def test_flags_are_sorted():
    found = flags([np.nan] * 50, [np.nan] * 50, [0.001, 0.1])
    assert found == ("constant-scores", "few-negatives", "non-finite", "tied-scores")


def test_finite_orders_nan_as_the_least_member_like():
    raw = np.array([0.0, np.nan, -1e300, np.inf, 1e300, -np.inf])
    changed = finite(raw)
    assert np.isfinite(changed).all()
    np.testing.assert_array_equal(changed[[0, 2, 4]], raw[[0, 2, 4]])
    assert changed[1] == changed[5] == changed.min() < -1e300
    assert changed[3] == changed.max() > 1e300
    assert np.isnan(raw[1])


def test_failing_on_members_does_not_look_like_knowing_them():
    nonmember = np.arange(10.0)
    assert auc(finite(np.full(10, np.nan)), finite(nonmember)).value == 0
    assert auc(finite([np.inf] * 10), finite(nonmember)).value == 1


@pytest.mark.parametrize(("member", "nonmember"), [([], [1.0]), ([1.0], []), ([[1.0]], [[1.0]])])
def test_refuses_empty_or_shaped_scores(member, nonmember):
    with pytest.raises(ValueError):
        flags(member, nonmember)
