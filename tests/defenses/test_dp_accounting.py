"""What dp_sgd claims: against opacus's accountants, Google's PLD accountant, closed forms and its own refusals."""

import json
import math
import warnings
from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from pydantic import ValidationError
from scipy import optimize, stats

from leakbench.api import Guarantee, Release
from leakbench.defenses._accounting import (
    ORDERS,
    error_for,
    noise_multiplier_for,
    rdp_epsilon,
    replace_one_epsilon,
    spent,
)
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.dp_sgd import DPSGD
from leakbench.defenses.untrained import Untrained
from leakbench.runtime.errors import UsageError
from leakbench.suite.load import load

pytestmark = pytest.mark.usefixtures("remembered_divergences")

HISTORIES = {
    "few steps": [[1.0, 0.1, 50]],
    "epsilon about 1": [[3.0, 0.05, 400]],
    "epsilon about 0.3": [[8.0, 0.05, 300]],
    "epsilon about 10": [[6.0, 0.3, 2000]],
    "epsilon about 40": [[1.0, 0.5, 100]],
    "thousands of steps": [[4.0, 0.02, 10_000]],
    "full batches": [[5.0, 1.0, 10]],
    "two trainings": [[2.0, 0.1, 300], [1.5, 0.05, 200]],
}
REPLACE_ONE = dp_accounting.NeighboringRelation.REPLACE_ONE
SMALL = {"steps": 3, "batch": 8, "noise_multiplicity": 1}


def google(history, delta, neighbours=dp_accounting.NeighboringRelation.REPLACE_SPECIAL):
    """Epsilon by privacy loss distributions, of the same neighbours (zero-out) unless others are given."""
    accountant = PLDAccountant(neighbours)
    for noise, rate, steps in history:
        event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
        accountant.compose(event, steps)
    return accountant.get_epsilon(delta)


def opacus(accountant, history, delta, **more):
    accountant.history = [tuple(row) for row in history]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return accountant.get_epsilon(delta, **more)


@pytest.mark.parametrize("name", HISTORIES)
def test_epsilon_is_opacuss_and_googles(name):
    history, delta = HISTORIES[name], 1e-4
    found = spent(history, delta)
    assert found.accountant == "prv" and found.epsilon < found.epsilon_rdp
    assert found.epsilon == opacus(PRVAccountant(), history, delta, eps_error=error_for(found.epsilon_rdp))
    assert found.epsilon == pytest.approx(opacus(PRVAccountant(), history, delta), rel=1e-3, abs=0.01)
    assert found.epsilon_rdp == pytest.approx(opacus(RDPAccountant(), history, delta), rel=1e-3)
    assert found.epsilon == pytest.approx(google(history, delta), rel=0.01)


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize("delta", [1e-25, 1e-5, 0.5])
def test_epsilon_of_rdp_is_the_least_of_all_orders(name, delta):
    assert rdp_epsilon(HISTORIES[name], delta) == opacus(RDPAccountant(), HISTORIES[name], delta, alphas=ORDERS)


def delta_of_gauss(epsilon, sigma):
    """Balle and Wang 2018 (1805.06530), eq. 6, for sensitivity 1."""
    a, b = 0.5 / sigma, epsilon * sigma
    return stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_a_full_batch_has_the_gaussian_mechanisms_closed_form(noise, steps):
    """Steps of full batches are one with noise over the root of their number."""
    exact = optimize.brentq(lambda e: delta_of_gauss(e, noise / math.sqrt(steps)) - 1e-5, 0, 100)
    found = spent([[noise, 1.0, steps]], 1e-5).epsilon
    assert exact <= found <= 1.01 * exact


@pytest.mark.parametrize(
    "epsilon, rate, steps", [(0.5, 0.3, 1000), (1.0, 0.05, 500), (10.0, 0.3, 2000), (30.0, 0.1, 500), (50.0, 1.0, 100)]
)
def test_the_noise_for_a_budget_spends_all_of_it_and_no_more(epsilon, rate, steps):
    noise = noise_multiplier_for(epsilon, 1e-4, rate, steps)
    assert 0.997 * epsilon < spent([[noise, rate, steps]], 1e-4).epsilon <= epsilon


def test_the_noise_for_a_budget_is_opacuss():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = get_noise_multiplier(
            target_epsilon=3.0, target_delta=1e-4, sample_rate=0.1, steps=300, accountant="prv"
        )
    assert noise_multiplier_for(3.0, 1e-4, 0.1, 300) == pytest.approx(theirs, rel=5e-3)


def test_beyond_prv_it_is_rdp_that_is_claimed():
    found = spent([[0.04, 1.0, 1]], 1e-4)
    assert found.accountant == "rdp" and 300 < found.epsilon == found.epsilon_rdp
    assert replace_one_epsilon([[0.04, 1.0, 1]], 1e-4) is None
    exact = optimize.brentq(lambda e: delta_of_gauss(e, 0.04) - 1e-4, 300, 500)
    assert exact <= found.epsilon <= 1.05 * exact
    noise = noise_multiplier_for(1000.0, 1e-4, 1.0, 50)
    assert 990 < spent([[noise, 1.0, 50]], 1e-4).epsilon <= 1000
    assert spent([[2.0, 0.1, 10]], 1e-25).accountant == "rdp"  # PRV cannot add up so small a delta


def test_a_budget_that_nothing_keeps_is_an_error_in_a_line():
    with pytest.raises(UsageError, match=r"epsilon = 0.001 at delta = 1e-05 is less than any noise can be shown"):
        noise_multiplier_for(0.001, 1e-5, 0.1, 100)


def released(defense, task) -> Release:
    return defense.release(defense.fit(task), task)


def test_the_claim_is_the_accountants_on_the_steps_taken(digits_task):
    release = released(DPSGD(**SMALL, noise_multiplier=2.0, clip=0.5), digits_task)
    found = spent([[2.0, 0.2, 3]], 40**-1.1)
    assert release.guarantee.to_json() == {
        "epsilon": found.epsilon,
        "delta": 40**-1.1,
        "accountant": "prv",
        "epsilon_rdp": found.epsilon_rdp,
        "sampling_rate": 0.2,
        "steps": 3,
        "noise_multiplier": 2.0,
        "clip": 0.5,
        "noise_multiplicity": 1,
        "adjacency": "zero-out",
        "epsilon_replace_one": pytest.approx(google([[2.0, 0.2, 3]], 40**-1.1, REPLACE_ONE), rel=1e-3),
        "unit": "image",
        "history": [[2.0, 0.2, 3]],
    }
    assert Guarantee.from_json(json.loads(json.dumps(release.guarantee.to_json()))) == release.guarantee
    assert release.flags == () and release.info == {"noise_multiplier": 2.0, "sampling_rate": 0.2}


def test_a_budget_is_kept_and_more_draws_of_an_image_cost_nothing(digits_task):
    claims = [
        released(DPSGD(steps=50, batch=4, epsilon=1.0, noise_multiplicity=draws), digits_task).guarantee.to_json()
        for draws in (1, 3)
    ]
    assert 0.99 < claims[0]["epsilon"] <= 1.0
    assert {**claims[0], "noise_multiplicity": 3} == claims[1]


@pytest.mark.parametrize(
    "delta, flags", [(0.5, ("weak-delta=0.5",)), (0.025, ("weak-delta=0.025",)), (0.0249, ()), (None, ())]
)
def test_a_delta_of_one_in_n_or_more_is_flagged(delta, flags, digits_task):
    release = released(DPSGD(**SMALL, noise_multiplier=2.0, delta=delta), digits_task)
    assert release.flags == flags and release.guarantee.to_json()["delta"] == (delta or 40**-1.1)


def test_without_noise_nothing_is_claimed(digits_task, task):
    release = released(DPSGD(**SMALL, epsilon="inf"), digits_task)
    assert release.guarantee.to_json() == {} and release.info["noise_multiplier"] == 0.0
    assert released(DPSGD(**SMALL, epsilon="inf"), task).guarantee.to_json() == {
        "void": "dp_sgd with epsilon = inf adds no noise"
    }


def test_without_poisson_sampling_there_is_no_claim_and_it_says_why(digits_task):
    release = released(DPSGD(**SMALL, noise_multiplier=2.0, poisson=False), digits_task)
    assert release.guarantee.to_json() == {"void": "dp_sgd drew its batches without Poisson sampling"}


def test_on_a_base_that_read_the_images_there_is_no_claim_and_it_says_why(digits_task, overfitted, task):
    said = {"void": "its base read the images without differential privacy"}
    assert overfitted.guarantee.to_json() == {"epsilon": 8.0}  # of unknown making: no history that could be composed
    for claims in (Guarantee(), overfitted.guarantee):
        base = replace(overfitted, guarantee=claims)
        assert released(DPSGD(**SMALL, noise_multiplier=2.0), replace(task, base=base)).guarantee.to_json() == said
    voided = replace(task, base=replace(overfitted, guarantee=Guarantee(void="it was sold")))
    assert released(DPSGD(**SMALL, noise_multiplier=2.0), voided).guarantee.to_json() == {"void": "it was sold"}


def test_on_a_private_base_both_histories_are_accounted_for_together(digits_task):
    first = released(DPSGD(**SMALL, noise_multiplier=2.0), digits_task)
    above = replace(digits_task, base=first)
    second = released(DPSGD(steps=4, batch=10, noise_multiplier=3.0, noise_multiplicity=1), above)
    found = second.guarantee
    assert found.history == ((2.0, 0.2, 3), (3.0, 0.25, 4))
    assert found.epsilon == spent(found.history, 40**-1.1).epsilon > first.guarantee.epsilon
    assert found.epsilon == pytest.approx(google(found.history, 40**-1.1), rel=0.01)
    assert found.facts["steps"] == 4 and second.network is not first.network


@pytest.mark.parametrize("stated", [{"adjacency": "replace"}, {"adjacency": "add-or-remove"}, {"unit": "group"}])
def test_a_base_of_another_adjacency_or_unit_does_not_compose(stated, digits_task):
    first = released(DPSGD(**SMALL, noise_multiplier=2.0), digits_task)
    base = replace(first, guarantee=first.guarantee.model_copy(update=stated))
    found = released(DPSGD(**SMALL, noise_multiplier=2.0), replace(digits_task, base=base)).guarantee
    assert found.epsilon is None and next(iter(stated.values())) in found.void


def test_on_random_weights_it_claims_what_it_would_alone_and_starts_from_them(digits_task):
    base = released(Untrained(), digits_task)
    alone = released(DPSGD(**SMALL, noise_multiplier=2.0), digits_task)
    release = released(DPSGD(**SMALL, noise_multiplier=2.0, lr=1e-9), replace(digits_task, base=base))
    assert release.guarantee == alone.guarantee
    for ours, theirs in zip(release.network.parameters(), base.network.parameters(), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


def test_a_step_above_that_reads_members_voids_the_claim(digits_task):
    base = released(DPSGD(**SMALL, noise_multiplier=2.0), digits_task)
    guard = CPSample(steps=2, batch=4, width=8, blocks=1)
    assert released(guard, replace(digits_task, base=base)).guarantee.to_json() == {
        "void": "cpsample's classifier is trained on members"
    }


SUITE = """
name = "dp"
dataset = "digits"
[[defense]]
name = "dp_sgd"
steps = 4
{}
"""


@pytest.mark.parametrize(
    "line, said",
    [
        ("epsilon = 0", 'epsilon = 0: it should be a number greater than 0, or "inf"'),
        ("epsilon = -1.5", 'epsilon = -1.5: it should be a number greater than 0, or "inf"'),
        ("epsilon = nan", 'epsilon = nan: it should be a number greater than 0, or "inf"'),
        ("epsilon = 'much'", "epsilon = 'much': it should be a number greater than 0, or \"inf\""),
        ("delta = 1", "delta = 1: it should be less than 1"),
        ("delta = 0.0", "delta = 0.0: it should be greater than 0"),
        ("noise_multiplier = 0", "noise_multiplier = 0: it should be greater than 0"),
        ("clip = 0", "clip = 0: it should be greater than 0"),
        ("batch = 0", "batch = 0: it should be greater than or equal to 1"),
        (
            "epsilon = 3\nnoise_multiplier = 1",
            "epsilon = 3: it should be left out, since noise_multiplier is given",
        ),
        ("epslon = 3", "unknown key 'epslon'; did you mean 'epsilon'?"),
    ],
)
def test_bad_values_are_an_error_in_a_line(line, said, tmp_path):
    (tmp_path / "dp.toml").write_text(SUITE.format(line))
    with pytest.raises(UsageError) as caught:
        load(str(tmp_path / "dp.toml"))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_sweep_of_budgets_ends_without_noise(tmp_path):
    (tmp_path / "dp.toml").write_text(SUITE.format('epsilon = [1, 3.5, "inf"]'))
    defenses = [point.chain[0].defense for point in load(str(tmp_path / "dp.toml")).points]
    assert [defense.epsilon for defense in defenses] == [1.0, 3.5, "inf"]
    (tmp_path / "dp.toml").write_text(SUITE.format("epsilon = inf"))
    (point,) = load(str(tmp_path / "dp.toml")).points
    assert point.parameters["epsilon"] == "inf" and json.dumps(point.parameters, allow_nan=False)


def test_one_of_budget_and_noise_is_enough_and_both_are_too_many():
    assert (DPSGD().epsilon, DPSGD().noise_multiplier) == (10.0, None)
    given = DPSGD(noise_multiplier=2.0)
    assert given.epsilon is None and DPSGD(**given.model_dump()) == given
    for wrong in ({"epsilon": None}, {"epsilon": "inf", "noise_multiplier": 1.0}):
        with pytest.raises(ValidationError, match="since noise_multiplier is"):
            DPSGD(**wrong)


@pytest.mark.parametrize("delta", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("epsilon, rate, steps", [(1.0, 0.1, 10), (0.5, 0.1, 3)])
def test_a_delta_that_pays_for_nearly_all_still_gets_a_noise(delta, epsilon, rate, steps):
    noise = noise_multiplier_for(epsilon, delta, rate, steps)
    assert 0 < noise < 10 and 0 <= spent([(noise, rate, steps)], delta).epsilon <= epsilon
