"""Exact accounting of Gaussian mechanisms, against Google's dp-accounting and published values."""

import math

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from leakbench.defenses._gaussian import gaussian_delta, gaussian_epsilon, gaussian_mu


@pytest.mark.parametrize(
    ("releases", "sigma", "delta", "epsilon"),
    [
        (20, 5 * math.sqrt(2), 1e-5, 2.594),  # private evolution on CIFAR-10, and after 5 of its 20 iterations
        (5, 5 * math.sqrt(2), 1e-5, 1.199),
        (17, 2.0, 1e-3, 7.890),  # on cats
    ],
)
def test_it_is_what_private_evolution_published(releases, sigma, delta, epsilon):
    assert gaussian_epsilon(math.sqrt(releases) / sigma, delta) == pytest.approx(epsilon, abs=5e-4)


@pytest.mark.parametrize(("releases", "epsilon", "sigma"), [(5, 1, 8.3419), (5, 10, 1.1178), (6, 1, 9.1381)])
def test_the_noise_for_a_budget_is_the_published_one(releases, epsilon, sigma):
    assert math.sqrt(releases) / gaussian_mu(epsilon, 1e-5) == pytest.approx(sigma, abs=1e-4)


@pytest.mark.parametrize(("sigma", "releases", "delta"), [(4.0, 10, 1e-3), (1.0, 3, 1e-6), (30.0, 5, 1e-5)])
def test_it_is_googles(sigma, releases, delta):
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(dp_accounting.GaussianDpEvent(sigma), releases)
    theirs = accountant.get_epsilon(delta)
    ours = gaussian_epsilon(math.sqrt(releases) / sigma, delta)
    assert ours <= theirs * (1 + 1e-9) and ours == pytest.approx(theirs, rel=2e-3)  # theirs is an upper bound


@pytest.mark.parametrize(("epsilon", "delta"), [(1e-3, 1e-9), (0.5, 0.4), (10.0, 1e-3), (3000.0, 1e-5)])
def test_epsilon_and_mu_are_inverse(epsilon, delta):
    assert gaussian_epsilon(gaussian_mu(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-6)


def test_a_large_delta_pays_for_all():
    assert gaussian_delta(0.0, 0.1) < 0.05 and gaussian_epsilon(0.1, 0.05) == 0.0
