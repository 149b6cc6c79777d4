"""The group z-test: its value by hand, its p value by scipy, and by chance as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from leakbench.statistics import group_z


def test_by_hand():
    z, p = group_z([1.0, 2.0, 3.0], [0.0, 2.0])  # means 2 and 1, variances 1 and 2
    assert z == pytest.approx(1 / (1 / 3 + 2 / 2) ** 0.5) and p == pytest.approx(norm.sf(z))


def test_the_published_pairs_of_statistic_and_p_value():
    for z, p in ((0.59, 0.28), (0.23, 0.41), (-0.86, 0.81)):
        member = np.array([-1.0, 1.0]) + z * 2**0.5  # both sides have variance 2, so the error is sqrt 2
        found = group_z(member, [-1.0, 1.0])
        assert found == (pytest.approx(z), pytest.approx(p, abs=0.005))


def test_of_equal_groups_one_in_twenty_is_below_a_twentieth():
    draw = np.random.default_rng(0)
    found = [group_z(draw.normal(size=80), draw.normal(size=120))[1] for _ in range(2000)]
    assert abs(np.mean(np.array(found) < 0.05) - 0.05) < 0.02


def test_groups_that_do_not_vary():
    assert group_z([1.0, 1.0], [1.0, 1.0]) == (0.0, 0.5)
    assert group_z([2.0, 2.0], [1.0, 1.0]) == (float("inf"), 0.0)
    with pytest.raises(ValueError, match="at least 2"):
        group_z([1.0], [1.0, 2.0])


def test_scores_whose_squares_overflow_have_the_z_of_the_same_scores_made_small():
    member, nonmember = np.array([1.0, 3.0, 4.0]), np.array([0.0, 1.0, 1.5])
    assert group_z(member * 1e300, nonmember * 1e300) == pytest.approx(group_z(member, nonmember))
