"""The blind baseline of few images: its closed form is that of fits without each pair; it finds differences alone."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.models.classifiers import blind_table
from leakbench.models.pair_reader import leave_pairs_out
from leakbench.statistics import auc, permutation_p_value


def test_scores_are_those_of_ridge_regressions_without_each_pair():
    table = np.random.default_rng(0).normal(size=(14, 6))
    scaled = (table - table.mean(axis=0)) / table.std(axis=0)
    label = np.repeat([1.0, 0.0], [4, 10])
    right = np.zeros((4, 10))
    for i in range(4):
        for j in range(10):
            kept = np.delete(np.arange(14), [i, 4 + j])
            rows = np.column_stack([np.ones(14), scaled])
            weights = np.diag([0.0] + [100.0] * 6)
            fitted = np.linalg.solve(rows[kept].T @ rows[kept] + weights, rows[kept].T @ label[kept])
            right[i, j] = rows[i] @ fitted > rows[4 + j] @ fitted
    found = leave_pairs_out(table, 4)
    assert np.allclose(found.member, right.mean(axis=1))
    assert auc(found.member, found.nonmember).value == pytest.approx(right.mean())


def test_equal_sides_stand_at_one_half_and_are_seldom_told_apart():
    areas, p_values = [], []
    for repeat in range(30):
        found = leave_pairs_out(np.random.default_rng([0, repeat]).normal(size=(33, 12)), 5)
        areas.append(auc(found.member, found.nonmember).value)
        p_values.append(permutation_p_value(areas[-1], found.permuted, two_sided=False))
    assert abs(np.mean(areas) - 0.5) < 0.11  # three standard errors
    assert np.mean(np.array(p_values) <= 0.01) <= 0.07


def test_sides_of_other_brightness_are_told_apart():
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.3, (33, 1, 8, 8))
    images[:5] += 0.4
    found = leave_pairs_out(blind_table(images.astype(np.float32)), 5)
    assert permutation_p_value(auc(found.member, found.nonmember).value, found.permuted, two_sided=False) <= 0.01


def test_one_member_is_too_few():
    with pytest.raises(ValueError, match="1 members of 9"):
        leave_pairs_out(np.zeros((9, 2)), 1)


def test_one_person_is_told_from_others_no_better_than_these_from_one_another():
    """Nine people of four photographs: who is a person shows, and is no difference of the sides."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(9), 4)
    table = rng.normal(size=(9, 30))[groups] + 0.3 * rng.normal(size=(36, 30))
    found = leave_pairs_out(table, 4, groups)
    value = auc(found.member, found.nonmember).value
    assert value > 0.9 and permutation_p_value(value, found.permuted, two_sided=False) >= 1 / 9
    assert permutation_p_value(value, leave_pairs_out(table, 4).permuted, two_sided=False) <= 0.01
