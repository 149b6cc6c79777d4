"""Bounds from rates: published vectors, other libraries, and error rates summed exactly over both binomials."""

from __future__ import annotations

import dp_accounting
import numpy as np
import pytest
from scipy.stats import binom, norm

from leakbench.statistics import epsilon_clopper_pearson, epsilon_gaussian, gaussian_epsilon


@pytest.mark.parametrize(("n", "epsilon"), [(100, 3.281), (500, 4.906), (1000, 5.601), (5000, 7.211), (25000, 8.821)])
def test_perfect_attack_is_the_reference_page_and_the_ceiling(n, epsilon):
    found = epsilon_clopper_pearson(n, n, 0, n, 1e-5)
    tpr = 0.025 ** (1 / n)
    assert found.value == pytest.approx(np.log((tpr - 1e-5) / (1 - tpr)), abs=1e-9)
    assert found.value == pytest.approx(epsilon, abs=6e-4)
    assert epsilon_clopper_pearson(n // 2, n, n // 4, n, 1e-5).ceiling == found.value == found.ceiling


JAX = [
    (100, 100, 0, 100, 1e-5, 3.281335973268658),
    (25000, 25000, 0, 25000, 1e-5, 8.821224582865154),
    (80, 100, 20, 100, 1e-5, 0.886437217209884),
    (500, 500, 300, 500, 0.0, 3.882283822641738),
    (400, 1000, 10, 1000, 1e-5, 3.004415277430531),
    (990, 1000, 600, 1000, 1e-5, 3.004415277430531),
    (30, 200, 0, 300, 0.01, 2.0353372466281967),
]


@pytest.mark.parametrize(("accepted", "members", "alarms", "nonmembers", "delta", "epsilon"), JAX)
def test_clopper_pearson_is_jax_privacys(accepted, members, alarms, nonmembers, delta, epsilon):
    # jax-privacy 2.0.0, CanaryScoreAuditor(ins, outs).epsilon_clopper_pearson(0.05, delta, one_sided=False,
    # threshold_strategy=Explicit(0.5)), scores 1 where accepted, 0 elsewhere.
    found = epsilon_clopper_pearson(accepted, members, alarms, nonmembers, delta)
    assert found.value == pytest.approx(epsilon, abs=1e-9)


JAX_GAUSSIAN = [
    (100, 100, 0, 100, 1e-5, 21.120338661807075),
    (1000, 1000, 0, 1000, 1e-5, 36.48948789301748),
    (80, 100, 20, 100, 1e-5, 4.869053866082619),
    (400, 1000, 10, 1000, 1e-5, 8.53017678333706),
]


@pytest.mark.parametrize(("accepted", "members", "alarms", "nonmembers", "delta", "epsilon"), JAX_GAUSSIAN)
def test_gaussian_is_jax_privacys(accepted, members, alarms, nonmembers, delta, epsilon):
    # jax-privacy 2.0.0, epsilon_from_gdp(0.15, delta, eps_tol=1e-9) of the same scores: it splits its significance over
    # the three thresholds that two distinct scores have, which leaves 2.5 % for each of two rates.
    assert epsilon_gaussian(accepted, members, alarms, nonmembers, delta).value == pytest.approx(epsilon, abs=1e-7)


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 1.9931), (1, 4.3772), (2, 9.9973)])
def test_gaussian_vectors_of_the_reference_page(mu, epsilon):
    assert gaussian_epsilon(mu, 1e-5) == pytest.approx(epsilon, abs=5e-5)


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
@pytest.mark.parametrize("mu", [0.1, 0.7, 3.0, 8.0])
def test_gaussian_epsilon_is_dp_accountings(mu, delta):
    assert gaussian_epsilon(mu, delta) == pytest.approx(dp_accounting.get_epsilon_gaussian(1 / mu, delta), abs=1e-5)


def test_gaussian_epsilon_solves_its_equation():
    for mu in (0.3, 1.0, 4.0):
        eps = gaussian_epsilon(mu, 1e-4)
        delta = norm.cdf(-eps / mu + mu / 2) - np.exp(eps) * norm.cdf(-eps / mu - mu / 2)
        assert delta == pytest.approx(1e-4, abs=1e-9)
    assert gaussian_epsilon(0.0, 1e-5) == gaussian_epsilon(-1.0, 1e-5) == 0
    assert gaussian_epsilon(0.1, 0.5) == 0  # delta alone allows it


def false_claims(bound, members, nonmembers, tpr, fpr, epsilon):
    """The probability that the bound exceeds `epsilon`, summed over both binomials."""
    accepted, alarms = (
        binom.pmf(np.arange(members + 1), members, tpr),
        binom.pmf(np.arange(nonmembers + 1), nonmembers, fpr),
    )
    return sum(
        accepted[k] * alarms[j]
        for k in np.flatnonzero(accepted > 1e-7)
        for j in np.flatnonzero(alarms > 1e-7)
        if bound(int(k), members, int(j), nonmembers) > epsilon
    )


@pytest.mark.parametrize(("members", "nonmembers"), [(60, 60), (40, 120)])
@pytest.mark.parametrize("epsilon", [0.3, 1.5, 3.0])
def test_the_larger_of_the_two_keeps_its_level(members, nonmembers, epsilon):
    # Randomised response: both directions are as far as eps allows, so either could err.
    tpr = 1 / (1 + np.exp(-epsilon))
    bound = lambda *counts: epsilon_clopper_pearson(*counts, 0.0).value  # noqa: E731
    assert false_claims(bound, members, nonmembers, tpr, 1 - tpr, epsilon) <= 0.05


def test_gaussian_bound_keeps_its_level_and_shows_more():
    mu, delta = 1.0, 1e-3
    tpr, fpr, epsilon = norm.cdf(mu / 2), norm.cdf(-mu / 2), gaussian_epsilon(mu, delta)
    bound = lambda *counts: epsilon_gaussian(*counts, delta).value  # noqa: E731
    assert false_claims(bound, 60, 60, tpr, fpr, epsilon) <= 0.05
    assert epsilon_gaussian(69, 100, 31, 100, delta).value > epsilon_clopper_pearson(69, 100, 31, 100, delta).value


def test_swapping_the_classes_swaps_the_directions():
    one, mirror = epsilon_clopper_pearson(90, 100, 40, 80, 1e-5), epsilon_clopper_pearson(40, 80, 90, 100, 1e-5)
    other = epsilon_clopper_pearson(40, 80, 10, 100, 1e-5)
    assert one.value == other.value > 0 == mirror.value


@pytest.mark.parametrize("bound", [epsilon_clopper_pearson, epsilon_gaussian])
def test_what_shows_nothing_is_zero_beside_its_ceiling(bound):
    for counts in ((50, 100, 50, 100), (0, 100, 0, 100), (10, 100, 90, 100)):
        found = bound(*counts, 1e-5)
        assert found.value == 0 < found.ceiling
    assert bound(10, 10, 0, 10, 0.99).value == bound(10, 10, 0, 10, 0.99).ceiling == 0


@pytest.mark.parametrize("bound", [epsilon_clopper_pearson, epsilon_gaussian])
@pytest.mark.parametrize(
    ("counts", "delta", "level"),
    [
        ((11, 10, 0, 10), 1e-5, 0.95),
        ((5, 10, 11, 10), 1e-5, 0.95),
        ((0, 0, 0, 10), 1e-5, 0.95),
        ((5, 10, 5, 10), 1.0, 0.95),
        ((5, 10, 5, 10), -0.1, 0.95),
        ((5, 10, 5, 10), 1e-5, 1.0),
    ],
)
def test_bounds_refuse_nonsense(bound, counts, delta, level):
    with pytest.raises(ValueError):
        bound(*counts, delta, level)


def test_a_gaussian_at_delta_zero_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        epsilon_gaussian(5, 10, 5, 10, 0.0)
