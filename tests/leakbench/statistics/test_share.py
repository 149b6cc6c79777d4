"""Share of a set that was trained on: the published formula, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.statistics import estimate_share


def normal(draw, share, known, shift, size=200):
    """Scores of a set with a share of members, of known members and of known nonmembers."""
    count = round(share * size)
    mixed = np.concatenate([draw.normal(shift, 1, count), draw.normal(0, 1, size - count)])
    return mixed, draw.normal(shift, 1, known), draw.normal(0, 1, known)


def test_the_errors_of_the_attack_are_taken_out():
    """TPR .6, FPR .1 and 35 % of the set above the threshold: (.35 - .1) / (.6 - .1) = .5."""
    inside, outside = np.repeat([1.0, 0.0], [60, 40]), np.repeat([1.0, 0.0], [10, 90])
    found = estimate_share(np.repeat([1.0, 0.0], [35, 65]), inside, outside)
    assert (found.tpr, found.fpr) == pytest.approx((0.6, 0.1))
    assert found.estimate.value == pytest.approx(0.5) and found.estimate.n == 100
    assert found.estimate.low < 0.35 and found.estimate.high > 0.65


@pytest.mark.parametrize(("share", "known", "shift"), [(0.0, 60, 1.0), (0.25, 60, 2.0), (1.0, 60, 1.0)])
def test_the_interval_covers(share, known, shift, repeats=250):
    """Nominal 95 %; .959, .949 and .960 of 1,500 seen."""
    draw = np.random.default_rng(0)
    found = [estimate_share(*normal(draw, share, known, shift)).estimate for _ in range(repeats)]
    assert np.mean([one.low <= share <= one.high for one in found]) >= 0.915
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found)


@pytest.mark.slow
@pytest.mark.parametrize("known", [30, 60, 300])
@pytest.mark.parametrize("shift", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_interval_covers_everywhere(share, known, shift):
    test_the_interval_covers(share, known, shift, 500)


def test_without_bias_where_the_bounds_are_far():
    draw = np.random.default_rng(1)
    found = [estimate_share(*normal(draw, 0.5, 300, 2.0)).estimate.value for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.015)


def test_an_attack_that_tells_nothing_says_so():
    flat = np.zeros(50)
    found = estimate_share(flat, flat, flat).estimate
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    backwards = estimate_share(np.zeros(40), np.arange(60.0), np.arange(60.0) + 30).estimate
    assert (backwards.low, backwards.high) == (0.0, 1.0)
    draw = np.random.default_rng(3)
    blind = [estimate_share(*normal(draw, 0.5, 60, 0.0)).estimate for _ in range(40)]
    assert np.mean([(one.low, one.high) == (0, 1) for one in blind]) > 0.9


def test_scores_of_known_images_are_needed():
    with pytest.raises(ValueError, match="at least 2"):
        estimate_share([1.0], [1.0], [0.0, 1.0])
