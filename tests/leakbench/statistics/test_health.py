"""Flags say what is wrong with raw scores, and NaN is ordered last."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.statistics import auc, calibration_leaks, finite, flags, weaker_with_more_access


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


def test_calibration_that_saw_its_own_images_is_caught():
    rng = np.random.default_rng(0)
    overfit = [(rng.normal(2, 1, 60), rng.normal(size=60), rng.normal(0.3, 1, 300), rng.normal(size=300))]
    assert all(calibration_leaks(*groups) for groups in overfit)


def test_honest_calibration_is_flagged_about_once_in_a_thousand():
    rng = np.random.default_rng(0)
    draw = lambda n: (rng.normal(1, 1, n), rng.normal(size=n))  # noqa: E731
    assert np.mean([calibration_leaks(*draw(60), *draw(300)) for _ in range(1500)]) <= 0.004


def test_calibration_weaker_than_reported_is_no_leak_of_calibration():
    rng = np.random.default_rng(0)
    assert not calibration_leaks(rng.normal(size=60), rng.normal(size=60), rng.normal(3, 1, 300), rng.normal(size=300))


def test_weights_below_the_answers_are_flagged_and_not_the_other_way_round():
    rng = np.random.default_rng(0)
    strong, weak = ((rng.normal(shift, 1, 300), rng.normal(size=300)) for shift in (1.5, 0.3))
    assert weaker_with_more_access(*weak, *strong)
    assert not weaker_with_more_access(*strong, *weak)
    assert not weaker_with_more_access(*strong, *strong)


def test_equal_attacks_at_two_levels_are_flagged_about_once_in_a_hundred():
    rng = np.random.default_rng(1)
    flagged = []
    for _ in range(1000):
        member, nonmember = rng.normal(1, 1, 200), rng.normal(size=200)
        noise = rng.normal(0, 0.7, (4, 200))
        flagged.append(
            weaker_with_more_access(member + noise[0], nonmember + noise[1], member + noise[2], nonmember + noise[3])
        )
    assert np.mean(flagged) == pytest.approx(0.01, abs=0.009)
