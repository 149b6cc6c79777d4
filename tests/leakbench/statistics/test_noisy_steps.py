"""Epsilons of noisy steps by adjacency, against Google's accountant asked directly and closed forms."""

from __future__ import annotations

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from scipy.stats import norm

from leakbench.statistics.noisy_steps import central_mu, steps_curve, steps_epsilon

RELATION = dp_accounting.NeighboringRelation


def google(history, delta, relation):
    accountant = PLDAccountant(relation, value_discretization_interval=5e-4)
    for noise, rate, steps in history:
        accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)), steps)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(
    ("history", "delta"),
    [([(2.0, 0.1, 30), (1.5, 0.05, 20)], 1e-5), ([(5.0, 1.0, 10)], 1e-5)],
)
def test_epsilons_are_googles(history, delta):
    kept = steps_epsilon(history, delta, "zero-out")
    assert kept == pytest.approx(google(history, delta, RELATION.REPLACE_SPECIAL), rel=5e-3)
    assert kept == pytest.approx(google(history, delta, RELATION.ADD_OR_REMOVE_ONE), rel=5e-3)  # the same pair
    replaced = steps_epsilon(history, delta, "replace")
    assert replaced == pytest.approx(google(history, delta, RELATION.REPLACE_ONE), rel=5e-3)
    assert replaced > 1.3 * kept


@pytest.mark.parametrize(("noise", "epsilon", "replaced"), [(3.6881, 10.0, 25.9), (22.5076, 1.0, 2.31)])
def test_the_suite_dp_has_two_epsilons(noise, epsilon, replaced):
    """What dp_sgd states at epsilon 10 and 1 of the suite: 360 images, batches of 60, 3,000 steps, delta 360^-1.1."""
    history, delta = [(noise, 60 / 360, 3000)], 360**-1.1
    assert steps_epsilon(history, delta, "zero-out") == pytest.approx(epsilon, rel=0.01)
    assert steps_epsilon(history, delta, "replace") == pytest.approx(replaced, rel=5e-3)


def test_a_full_batch_has_the_gaussian_curve_from_below():
    curve = steps_curve([(4.0, 1.0, 9)])
    assert central_mu([(4.0, 1.0, 9)]) == 0.75
    for alpha in (1e-4, 0.01, 0.2, 0.5, 0.9, 0.999):
        exact = norm.cdf(-norm.ppf(alpha) - 0.75)
        assert exact - 2e-3 <= curve.least(alpha) <= exact + 1e-6
    assert curve.least(1.0) == 0.0 and curve.least(0.0) == pytest.approx(1.0, abs=1e-6)


def test_no_test_of_a_step_does_better_than_the_curve():
    """One step at rate 0.3: a threshold on its noisy sum, with the image and without, in either order."""
    curve, above = steps_curve([(0.8, 0.3, 1)]), np.linspace(-4, 5, 40)
    without = norm.sf(above, scale=0.8)
    with_it = 0.7 * without + 0.3 * norm.sf(above, loc=1, scale=0.8)
    for false, missed in zip([*without, *(1 - with_it)], [*(1 - with_it), *without], strict=True):
        assert curve.least(false) <= missed + 1e-9
    assert min(1 - with_it - [curve.least(false) for false in without]) < 1e-3  # and it is reached somewhere


def test_a_delta_that_is_none_is_refused():
    with pytest.raises(ValueError, match="delta"):
        steps_epsilon([(1.0, 0.1, 5)], 1.5, "zero-out")
