"""The posterior of epsilon against adaptive quadrature, against sampling, and against the authors' own package."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaincinv
from scipy.stats import beta

from leakbench.statistics import epsilon_bayes, epsilon_clopper_pearson
from leakbench.statistics.epsilon_bayes import _SLICES, _posterior

COUNTS = [(80, 100, 20, 100), (30, 200, 0, 300), (95, 100, 700, 10000), (900, 1000, 3, 20), (5, 10, 5, 10)]


@pytest.mark.parametrize(
    ("accepted", "members", "alarms", "nonmembers", "delta", "epsilon"),
    [
        (80, 100, 20, 100, 1e-5, 1.1545114252909672),
        (100, 100, 0, 100, 1e-5, 4.896385954890003),
        (500, 500, 300, 500, 0.0, 4.6448998593076585),
        (400, 1000, 10, 1000, 1e-5, 3.196634403498862),
        (30, 200, 0, 300, 0.01, 3.062071359444204),
        (52, 100, 50, 100, 1e-5, 0.009720549633907989),
        (20, 100, 60, 100, 0.0, 0.7570490449019978),
    ],
)
def test_same_as_the_authors_package(accepted, members, alarms, nonmembers, delta, epsilon):
    # privacy-estimates 0.1.0.post1, joint_density.Beta(AttackResults(...)).eps_lo(delta, alpha=0.05, xtol=1e-5):
    # two-dimensional adaptive quadrature to 5e-6, hence the tolerance.
    assert epsilon_bayes(accepted, members, alarms, nonmembers, delta).value == pytest.approx(epsilon, abs=5e-5)


def by_quadrature(eps, delta, accepted, members, alarms, nonmembers):
    fpr = beta(alarms + 0.5, nonmembers - alarms + 0.5)
    fnr = beta(members - accepted + 0.5, accepted + 0.5)

    def inside(u):
        x = fpr.ppf(u)
        least = max(0, 1 - delta - np.exp(eps) * x, np.exp(-eps) * (1 - delta - x))
        most = 1 - max(0, 1 - delta - np.exp(eps) * (1 - x), np.exp(-eps) * (x - delta))
        return fnr.cdf(most) - fnr.cdf(least)

    return quad(inside, 0, 1, limit=500, epsabs=1e-8)[0]


@pytest.mark.parametrize("counts", COUNTS)
def test_probability_is_the_integral(counts):
    accepted, members, alarms, nonmembers = counts
    slices = (np.arange(_SLICES) + 0.5) / _SLICES
    fpr = betaincinv(alarms + 0.5, nonmembers - alarms + 0.5, slices)
    for eps in (0.1, 1.0, 2.5):
        for delta in (0.0, 0.01):
            found = _posterior(eps, delta, fpr, members - accepted, accepted)
            assert found == pytest.approx(by_quadrature(eps, delta, *counts), abs=1e-5)


def smallest_epsilon(fpr, fnr, delta):
    """The epsilon that each pair of rates needs: the largest log-ratio of the four demands."""
    ratios = [(1 - delta - fnr) / fpr, (1 - delta - fpr) / fnr, (fnr - delta) / (1 - fpr), (fpr - delta) / (1 - fnr)]
    return np.maximum(0, np.log(np.maximum(np.max(ratios, axis=0), 1e-300)))


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_bound_is_the_quantile_of_draws_from_the_posterior(counts, level):
    accepted, members, alarms, nonmembers = counts
    rng = np.random.default_rng(0)
    fpr = rng.beta(alarms + 0.5, nonmembers - alarms + 0.5, 200_000)
    fnr = rng.beta(members - accepted + 0.5, accepted + 0.5, 200_000)
    drawn = smallest_epsilon(fpr, fnr, 1e-4)
    bound = epsilon_bayes(*counts, 1e-4, level).value
    assert np.mean(drawn > bound) == pytest.approx(level, abs=0.004)


def test_ceiling_is_the_perfect_attack():
    found = epsilon_bayes(70, 100, 20, 80, 1e-5)
    assert found.ceiling == epsilon_bayes(100, 100, 0, 80, 1e-5).value > found.value > 0
    assert "credible" in found.assumes


def test_narrower_than_clopper_pearson_and_mirrored():
    for counts in COUNTS[:4]:
        assert epsilon_bayes(*counts, 1e-5).value > epsilon_clopper_pearson(*counts, 1e-5).value
    assert epsilon_bayes(80, 100, 20, 100, 0).value == pytest.approx(epsilon_bayes(20, 100, 80, 100, 0).value, abs=1e-6)


def test_what_delta_alone_allows_shows_nothing():
    assert epsilon_bayes(52, 100, 50, 100, 0.3).value == 0


@pytest.mark.parametrize(
    ("counts", "delta", "level"),
    [
        ((11, 10, 0, 10), 0, 0.95),
        ((1, 10, -1, 10), 0, 0.95),
        ((0, 0, 0, 10), 0, 0.95),
        ((5, 10, 5, 10), 1, 0.95),
        ((5, 10, 5, 10), 0, 0.0),
    ],
)
def test_refuses_nonsense(counts, delta, level):
    with pytest.raises(ValueError):
        epsilon_bayes(*counts, delta, level)
