"""Exact tests of few images: against scipy, against all permutations, and the size and power that they claim."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from leakbench.statistics import (
    ExactFamily,
    auc,
    exact_detectable_auc,
    exact_p_value,
    least_p_value,
    permutation_p_value,
)


def draw(m, n, shift=0.0, seed=0, repeat=0):
    rng = np.random.default_rng([seed, repeat])
    return rng.normal(shift, 1, m), rng.normal(size=n)


def by_all_choices(tables, m):
    """The largest |AUC - 1/2| of some attacks for every choice of m images, by DeLong's AUC of each."""
    total = len(tables[0])
    found = []
    for chosen in combinations(range(total), m):
        inside = np.isin(np.arange(total), chosen)
        found.append(max(abs(auc(table[inside], table[~inside]).value - 0.5) for table in tables))
    return np.array(found)


@pytest.mark.parametrize(("m", "n"), [(3, 20), (5, 28), (30, 8), (12, 40)])
def test_one_attack_is_tested_as_mann_and_whitney(m, n):
    for repeat in range(5):
        member, nonmember = draw(m, n, 0.7, repeat=repeat)
        assert exact_p_value(member, nonmember) == pytest.approx(mannwhitneyu(member, nonmember, method="exact").pvalue)


def test_ties_and_several_attacks_are_those_of_all_choices():
    rng = np.random.default_rng(0)
    tables = [np.round(rng.normal(size=11)), rng.normal(size=11)]
    far = by_all_choices(tables, 4)
    family = ExactFamily([(table[:4], table[4:]) for table in tables])
    for value in (0.5, 0.6, 0.85, 1.0):
        assert family.correct(value) == pytest.approx(np.mean(far >= abs(value - 0.5) - 1e-9))
    own = abs(auc(tables[0][:4], tables[0][4:]).value - 0.5)
    alone = np.mean(by_all_choices(tables[:1], 4) >= own - 1e-9)
    assert exact_p_value(tables[0][:4], tables[0][4:]) == pytest.approx(alone)


def test_the_least_p_value_is_that_of_two_choices_among_all():
    member, nonmember = np.arange(21, 24), np.arange(20)
    assert exact_p_value(member, nonmember) == pytest.approx(2 / comb(23, 3)) == pytest.approx(least_p_value(3, 20))
    assert exact_p_value(nonmember, member) == pytest.approx(2 / comb(23, 3))
    assert ExactFamily([(np.arange(100, 105), np.arange(28))]).correct(1.0) >= least_p_value(5, 28) == 1 / 20_001


def test_of_one_person_among_others_the_p_value_is_the_rank():
    member, nonmember = np.arange(100, 105), np.arange(40)
    groups = np.zeros(5, dtype=int), np.repeat(np.arange(1, 11), 4)
    assert exact_p_value(member, nonmember, groups) == pytest.approx(1 / 11) == pytest.approx(least_p_value(1, 10))


def test_equal_scores_show_nothing():
    assert exact_p_value(np.ones(5), np.ones(20)) == 1
    assert ExactFamily([(np.ones(5), np.ones(20))]).critical() == np.inf


def test_attacks_that_leak_nothing_are_found_in_5_of_100():
    """Five attacks that resemble one another, 5 members against 28 nonmembers, 300 models."""
    found = 0
    for repeat in range(300):
        rng = np.random.default_rng([1, repeat])
        tables = rng.normal(size=33) + 0.7 * rng.exponential(size=(5, 33))
        family = ExactFamily([(table[:5], table[5:]) for table in tables])
        found += min(family.correct(auc(table[:5], table[5:]).value) for table in tables) <= 0.05
    assert found / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(("m", "n"), [(5, 28), (10, 30), (39, 60)])
def test_what_would_have_been_found_is_found_in_four_of_five_runs(m, n):
    critical = ExactFamily([draw(m, n)]).critical()
    least = exact_detectable_auc(m, n, critical)
    rng = np.random.default_rng(2)
    shift = norm.ppf(least) * np.sqrt(2)
    pairs = ((rng.normal(shift, 1, m), np.sort(rng.normal(size=n))) for _ in range(1000))
    power = np.mean([np.searchsorted(y, x).mean() / n >= 0.5 + critical - 1e-9 for x, y in pairs])
    assert 0.77 <= power <= 0.9


def test_too_few_can_show_nothing():
    family = ExactFamily([(np.arange(3.0), np.arange(3.0, 7.0))])
    assert family.critical() == np.inf and exact_detectable_auc(3, 4, family.critical()) is None


def test_an_attack_that_learnt_from_the_others_is_judged_by_its_own_permutations():
    permuted = np.linspace(0, 1, 101)
    assert permutation_p_value(1.0, permuted) == pytest.approx(3 / 102)
    assert permutation_p_value(0.0, permuted, two_sided=False) == 1
    assert permutation_p_value(1.0, permuted, two_sided=False) == pytest.approx(2 / 102)


@pytest.mark.parametrize("scores", [([], [1.0]), ([np.nan], [1.0]), ([[1.0]], [1.0])])
def test_what_are_no_scores_is_refused(scores):
    with pytest.raises(ValueError):
        exact_p_value(*scores)


def test_attacks_of_different_images_are_no_family():
    with pytest.raises(ValueError, match="the same images"):
        ExactFamily([draw(3, 9), draw(4, 9)])


def models(area, kind, m, n, rng):
    """Scores of m members and n nonmembers with AUC `area`: of one width, of members twice as wide, or of members of
    whom some are found at once and the others not at all."""
    if kind == "rare":
        rare = rng.random(m) < 2 * area - 1
        return np.where(rare, 100 + rng.random(m), rng.normal(size=m)), rng.normal(size=n)
    width = {"even": 1, "wide": 2}[kind]
    return rng.normal(norm.ppf(area) * np.hypot(1, width), width, m), rng.normal(size=n)


def coverage(area, kind, m, n, repetitions):
    rng = np.random.default_rng(3)
    found = (auc(*models(area, kind, m, n, rng)) for _ in range(repetitions))
    return np.mean([one.low <= area <= one.high for one in found])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["even", "wide", "rare"])
@pytest.mark.parametrize(("m", "n"), [(3, 20), (5, 28), (10, 30), (39, 60), (39, 500)])
def test_the_interval_of_the_auc_covers_at_few_members(m, n, kind):
    for area in (0.5, 0.7, 0.9, 0.97):
        assert coverage(area, kind, m, n, 1500) >= 0.93


def test_the_interval_of_the_auc_covers_at_five_members():
    assert coverage(0.9, "wide", 5, 28, 300) >= 0.93
