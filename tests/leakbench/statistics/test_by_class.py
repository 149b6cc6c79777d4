"""Leakage by class: each class by itself, and a test that is not fooled by classes that differ in difficulty."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.statistics import auc, by_class, contrast, holm


def drawn(rng, shifts, n, difficulty=0.0):
    """Scores and labels of both sides; class i has member shift `shifts[i]` and `n` images a side."""
    labels = np.repeat(np.arange(len(shifts)), n)
    base = difficulty * labels
    member = base + np.asarray(shifts)[labels] + rng.normal(size=labels.size)
    return member, labels, base + rng.normal(size=labels.size), labels


def test_every_class_is_its_own_auc():
    rng = np.random.default_rng(0)
    member, inside, nonmember, outside = drawn(rng, [0.5, 1.0, 0.0], 40)
    order, other = rng.permutation(120), rng.permutation(120)
    found = by_class(member[order], inside[order], nonmember[other], outside[other])
    assert [one.label for one in found.classes] == [0, 1, 2]
    for one in found.classes:
        alone = auc(member[inside == one.label], nonmember[outside == one.label])
        got = (one.auc.value, one.auc.low, one.auc.high, one.auc.n)
        assert got == pytest.approx((alone.value, alone.low, alone.high, alone.n))
        assert (one.members, one.nonmembers) == (40, 40)
    assert found.left_out == 0


def test_adjusted_p_values_are_holms_of_the_contrast_with_the_mean_of_the_others():
    rng = np.random.default_rng(1)
    sides = [(rng.normal(shift, 1, n), rng.normal(size=k)) for shift, n, k in ((1, 30, 40), (0, 60, 50), (0.5, 20, 90))]
    member, nonmember = (np.concatenate([side[i] for side in sides]) for i in (0, 1))
    labels = [np.repeat([3, 5, 9], [len(side[i]) for side in sides]) for i in (0, 1)]
    raw = [
        contrast(sides, [1, -50 / 70, -20 / 70]).p_value,
        contrast(sides, [-30 / 50, 1, -20 / 50]).p_value,
        contrast(sides, [-30 / 80, -50 / 80, 1]).p_value,
    ]
    found = by_class(member, labels[0], nonmember, labels[1])
    assert [one.adjusted for one in found.classes] == pytest.approx(holm(raw))


def test_classes_that_leak_alike_do_not_differ_however_hard_they_are():
    rng = np.random.default_rng(0)
    lowest = [
        min(one.adjusted for one in by_class(*drawn(rng, [1.0] * 6, 50, difficulty=5.0)).classes) for _ in range(200)
    ]
    assert np.mean(np.array(lowest) <= 0.05) <= 0.08


def test_a_class_that_leaks_more_stands_out():
    found = by_class(*drawn(np.random.default_rng(0), [0.2, 0.2, 2.0, 0.2, 0.2], 60, difficulty=5.0))
    assert found.classes[2].adjusted < 1e-4 < min(one.adjusted for one in found.classes if one.label != 2)
    assert found.classes[2].auc.value == max(one.auc.value for one in found.classes)


def test_small_classes_are_left_out_and_counted():
    member, labels = np.arange(24.0), np.repeat([0, 1, 2], [4, 10, 10])
    nonmember, others = np.arange(17.0), np.repeat([0, 1, 7], [8, 5, 4])
    found = by_class(member, labels, nonmember, others)
    assert [one.label for one in found.classes] == [1]
    assert found.left_out == 3  # few members, no nonmember, no member
    assert found.classes[0].adjusted is None


def test_no_class_is_large_enough():
    found = by_class([1.0, 2.0], [0, 1], [0.0, 1.0], [0, 1])
    assert (found.classes, found.left_out) == ((), 2)


@pytest.mark.parametrize("labels", [[0, 1, 0], [[0, 1]], [0.0, 1.0], ["a", "b"]])
def test_one_whole_number_a_score(labels):
    with pytest.raises(ValueError):
        by_class([1.0, 2.0], labels, [0.0, 1.0], [0, 1])
