"""Privacy by person: the accountant against published values and Google's, both samplings against loops, refusals."""

import json
from dataclasses import replace

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting.pld import PLDAccountant
from pydantic import ValidationError
from scipy import stats

from leakbench.api import AuditSetting, Guarantee
from leakbench.defenses._accounting import group_epsilon, group_noise_for, spent
from leakbench.defenses._gaussian import gaussian_epsilon
from leakbench.defenses._groups import Slots, keep_images, largest_group
from leakbench.defenses._histogram import histogram_guarantee
from leakbench.defenses._private import Mechanism
from leakbench.defenses.dp_lora import DPLoRA
from leakbench.defenses.dp_sgd import DPSGD
from leakbench.models import networks
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.errors import UsageError

pytestmark = pytest.mark.usefixtures("remembered_divergences")

SMALL = {"steps": 3, "batch": 6, "noise_multiplicity": 1}
SIZES = [1, 2, 3, 5, 9, 10, 10]  # images of each person


@pytest.fixture(scope="session")
def people_task(digits_task):
    """The task of 40 digits, of seven persons with 1 to 10 images each, in no order."""
    groups = torch.arange(7).repeat_interleave(torch.tensor(SIZES))
    return replace(digits_task, groups=3 * groups[torch.from_numpy(np.random.default_rng(0).permutation(40))] + 5)


def google(rate, noise, steps, images, delta):
    event = dp_accounting.dp_event.MixtureOfGaussiansDpEvent(
        noise, list(range(images + 1)), stats.binom.pmf(range(images + 1), images, rate).tolist()
    )
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(relation, value_discretization_interval=2e-3)
    return accountant.compose(event, steps).get_epsilon(delta)


# What is claimed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images, known", [(1, 2.61), (2, 6.25), (5, 21.7), (10, 61.7)])
def test_the_four_numbers_that_are_known_of_a_person(images, known):
    """Rate 0.05, noise multiplier 1.5, 500 steps, delta 1e-3: within 1 % of these, and never below what Google finds
    on a finer grid."""
    found = group_epsilon([(1.5, 0.05, 500)], 1e-3, images)
    assert found == pytest.approx(known, rel=0.01)
    assert found == pytest.approx(google(0.05, 1.5, 500, images, 1e-3), rel=0.002)


def test_full_batches_move_a_sum_by_all_images_of_a_person():
    """No coin: k images are one with k times the gradient."""
    assert group_epsilon([(8.0, 1.0, 10)], 1e-4, 4) == pytest.approx(spent([(2.0, 1.0, 10)], 1e-4).epsilon, rel=0.01)


def test_several_trainings_compose_and_what_is_in_the_hundreds_is_not_told():
    both = group_epsilon([(3.0, 0.1, 30), (4.0, 0.05, 50)], 1e-3, 3)
    assert both > max(group_epsilon([(3.0, 0.1, 30)], 1e-3, 3), group_epsilon([(4.0, 0.05, 50)], 1e-3, 3))
    assert group_epsilon([(1.5, 0.05, 500)], 1e-3, 40) is None


def test_the_noise_for_a_persons_budget_spends_all_of_it_and_no_more():
    noise = group_noise_for(2.0, 1e-3, 0.05, 100, 3)
    assert 0.99 * 2 < group_epsilon([(noise, 0.05, 100)], 1e-3, 3) <= 2


def guarantee(defense, task):
    return defense.release(defense.fit(task), task).guarantee


def test_a_guarantee_by_image_says_what_it_is_for_a_person(people_task, digits_task):
    defense = DPSGD(**SMALL, noise_multiplier=4.0)
    found = guarantee(defense, people_task)
    history = [(4.0, 6 / 40, 3)]
    assert (found.unit, found.group_size, found.epsilon) == ("image", 10, spent(history, 40**-1.1).epsilon)
    assert found.by_group == found.facts["epsilon_by_group"] == group_epsilon(history, 40**-1.1, 10) > 3 * found.epsilon
    plain = guarantee(defense, digits_task)
    assert plain.to_json() == {k: v for k, v in found.to_json().items() if k not in ("group_size", "epsilon_by_group")}
    assert plain.by_group is None
    fewer = guarantee(DPSGD(**SMALL, noise_multiplier=4.0, group_size=2), people_task)
    assert fewer.group_size == 2 and fewer.facts["sampling_rate"] == 6 / 13 and fewer.unit == "image"


def test_images_that_are_drawn_one_by_one_are_accounted_for_as_a_mixture(people_task):
    found = guarantee(DPSGD(**SMALL, unit="group", group_size=2, noise_multiplier=4.0), people_task)
    history, delta = ((4.0, 6 / 13, 3),), 7**-1.1  # 13 images are left; delta follows from persons
    assert found.to_json() == {
        "epsilon": group_epsilon(history, delta, 2),
        "delta": delta,
        "accountant": "pld",
        "adjacency": "zero-out",
        "unit": "group",
        "history": [[4.0, 6 / 13, 3]],
        "group_size": 2,
        "epsilon_by_image": spent(history, delta).epsilon,
        "sampling_rate": 6 / 13,
        "steps": 3,
        "noise_multiplier": 4.0,
        "clip": 1.0,
        "noise_multiplicity": 1,
        "sampling": "example",
    }
    assert Guarantee.from_json(json.loads(json.dumps(found.to_json()))) == found and found.by_group == found.epsilon
    lost = guarantee(DPSGD(**SMALL, unit="group", noise_multiplier=0.1), people_task)
    assert lost.to_json() == {"void": "its epsilon by group, of 10 images, is in the hundreds"}


def test_persons_that_are_drawn_whole_are_accounted_for_as_images_are(people_task):
    whole = {"unit": "group", "sampling": "user", "steps": 3, "noise_multiplicity": 1}
    found = guarantee(DPSGD(**whole, batch=2, noise_multiplier=1.0), people_task)
    same = spent([(1.0, 2 / 7, 3)], 7**-1.1)
    assert (found.epsilon, found.accountant, found.unit) == (same.epsilon, "prv", "group")
    assert found.group_size is None and found.facts["epsilon_replace_one"] > found.epsilon
    assert 0.99 < guarantee(DPSGD(**whole, batch=2, epsilon=1.0), people_task).epsilon <= 1.0
    kept = guarantee(DPSGD(**SMALL, unit="group", group_size=3, epsilon=6.0), people_task)
    assert 0.99 * 6 < kept.epsilon <= 6


def test_bases_of_another_unit_or_sampling_do_not_compose(people_task):
    whole = {"steps": 3, "noise_multiplicity": 1, "batch": 3, "sampling": "user"}
    made = {
        "image": DPSGD(**SMALL, noise_multiplier=6.0),
        "example": DPSGD(**SMALL, noise_multiplier=6.0, unit="group", group_size=2),
        "user": DPSGD(**whole, unit="group", noise_multiplier=6.0),
    }
    releases = {name: one.release(one.fit(people_task), people_task) for name, one in made.items()}
    for below, base in releases.items():
        for above, defense in made.items():
            found = guarantee(defense, replace(people_task, base=base))
            assert (found.epsilon is None) == (below != above), (below, above)
    both = guarantee(made["example"], replace(people_task, base=releases["example"]))
    assert both.epsilon == group_epsilon(both.history, 7**-1.1, 2) and len(both.history) == 2


def test_votes_of_a_person_are_as_many_as_their_images(people_task):
    """Each image has one vote in every histogram, and a person's may all fall into one bin."""
    found = histogram_guarantee("votes", None, 20.0, 2, 1e-3, largest_group(people_task))
    assert found.group_size == 10 and found.unit == "image"
    assert found.by_group == pytest.approx(gaussian_epsilon(10 * 2**0.5 / 20.0, 1e-3), rel=1e-3)
    assert histogram_guarantee("votes", None, 20.0, 2, 1e-3).by_group is None


# What is trained ------------------------------------------------------------------------------------------------------


def test_at_most_so_many_images_of_a_person_are_kept_at_random(people_task):
    kept = keep_images(people_task, 4, whole=False)
    sizes = kept.groups.unique(return_counts=True)[1].tolist()
    assert sizes == [1, 2, 3, 4, 4, 4, 4] and len(kept.images) == 22
    again = keep_images(people_task, 4, whole=False)
    assert torch.equal(kept.images, again.images)
    other = keep_images(replace(people_task, streams=type(people_task.streams)("digits", 1)), 4, whole=False)
    assert not torch.equal(kept.images, other.images)
    whole = keep_images(people_task, 4, whole=True)
    assert whole.groups.unique_consecutive(return_counts=True)[1].tolist() == sizes
    assert keep_images(people_task, None, whole=False) is people_task


def test_slots_weigh_every_image_of_a_person_alike():
    slots = Slots.of(torch.tensor([4, 4, 4, 6, 9, 9]))
    values = torch.tensor([1.0, 2.0, 6.0, 5.0, 2.0, 4.0])
    assert slots.shape == (3, 3)
    assert torch.allclose((values[slots.place] * slots.weight).mean(dim=1), torch.tensor([3.0, 5.0, 3.0]))
    assert Slots.of(torch.tensor([], dtype=torch.int64)).shape[0] == 0


@pytest.fixture
def whole(people_task):
    """A mechanism that draws persons whole, and a small network."""
    spec = NetworkSpec(kind="mlp", shape=(1, 8, 8), width=16, blocks=1)
    task = keep_images(replace(people_task, network=spec), 5, whole=True)
    mechanism = Mechanism(task, 0.6, draws=2, clip=0.5, noise=0.0, poisson=True, stage=0, whole=True, most=5)
    return mechanism, networks.build(spec, task.streams.of("weights")).train()


def test_persons_are_drawn_whole_by_one_coin(whole):
    mechanism, _ = whole
    counts = torch.bincount(mechanism.groups)
    drawn = torch.zeros(7)
    for step in mechanism.steps(0, 400):
        here = torch.bincount(step.group, minlength=7)
        assert torch.equal(here[here > 0], counts[here > 0])
        assert torch.equal(step.group, mechanism.groups[step.index])
        drawn += here > 0
    assert mechanism.expected == pytest.approx(0.6 * 7) and (drawn / 400 - 0.6).abs().max() < 0.1


def test_the_step_is_the_sum_of_persons_clipped_mean_gradients(whole):
    mechanism, network = whole
    step = mechanism.steps(0, 1)[0]
    assert len(step.group.unique()) >= 3
    expected, parameters = 0, list(network.parameters())
    for person in step.group.unique():
        one = replace(mechanism, whole=False)
        images = (step.group == person).nonzero()[:, 0].tolist()
        loss = torch.stack([one.losses(network, step, slice(i, i + 1)).mean() for i in images]).mean()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
        expected = expected + gradient * min(1, 0.5 / (gradient.norm().item() + 1e-6))
    mechanism.rule(network, step)
    found = torch.cat([p.grad.flatten() for p in parameters]) * mechanism.expected
    assert torch.allclose(found, expected, atol=1e-5) and found.norm() > 0.1


def test_adapters_are_trained_by_person_as_well(people_task):
    base = DPSGD(**SMALL, noise_multiplier=6.0, unit="group", group_size=2)
    above = replace(people_task, base=base.release(base.fit(people_task), people_task))
    found = guarantee(DPLoRA(**SMALL, noise_multiplier=6.0, unit="group", group_size=2, rank=2), above)
    assert found.unit == "group" and len(found.history) == 2 and found.epsilon is not None


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{"unit": "group"}, {"unit": "group", "sampling": "user"}, {"group_size": 3}])
def test_data_without_groups_are_refused_in_a_line(asked, digits_task):
    defense = DPSGD(**SMALL, noise_multiplier=2.0, **asked)
    reason = defense.skip(AuditSetting((), "none", "nothing", 1000, 40)).reason
    assert "do not say whose each image is" in reason and "\n" not in reason
    with pytest.raises(UsageError, match="whose each image is"):
        defense.fit(digits_task)
    assert defense.skip(AuditSetting((), "none", "nothing", 1000, 40, group_sizes=tuple(SIZES))) is None


def test_a_batch_of_more_persons_than_there_are_is_refused(people_task):
    defense = DPSGD(steps=3, batch=8, unit="group", sampling="user", noise_multiplier=2.0)
    setting = AuditSetting((), "none", "nothing", 1000, 40, group_sizes=tuple(SIZES))
    assert defense.skip(setting).reason == "batch = 8: it should be at most the number of training groups, 7"
    with pytest.raises(UsageError, match="at most the number of groups, 7"):
        defense.fit(people_task)


@pytest.mark.parametrize("given", [{}, {"unit": "group", "poisson": False}])
def test_persons_are_drawn_by_coins_for_a_guarantee_of_theirs_alone(given):
    with pytest.raises(ValidationError, match='"example", or else unit = "group" and poisson = true'):
        DPSGD(**given, sampling="user")
