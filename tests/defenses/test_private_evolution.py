"""Private evolution: the votes, what they choose, what is claimed of them, and what is handed out."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from leakbench.api import Access, AuditSetting, Guarantee
from leakbench.attacks.membership.loss import Loss
from leakbench.defenses._accounting import spent
from leakbench.defenses._gaussian import gaussian_epsilon
from leakbench.defenses._histogram import count_votes
from leakbench.defenses.private_evolution import PrivateEvolution
from leakbench.measurement.compatibility import skip_attack
from leakbench.models.diffusion import Schedule
from leakbench.runtime.errors import UsageError
from leakbench.testing import toy_images, toy_release, toy_task
from leakbench.testing.settings import Plain

SHORT = {"iterations": 2, "population": 100, "first_strength": 0.3, "last_strength": 0.1}
PUBLIC = Guarantee(epsilon=0, delta=0, history=())


@pytest.fixture(scope="module")
def theirs():
    """Sixteen images of a kind that is not the private one."""
    return toy_images(16, "another kind")


@pytest.fixture(scope="module")
def task(theirs):
    """A public generator of both kinds, half and half; the private images are of one."""
    small = toy_task().subset(torch.arange(16))
    both = toy_release(memorised=torch.cat([small.images[:], theirs]))
    return replace(small, base=replace(both, guarantee=PUBLIC, schedule=Schedule(steps=20)))


def released(defense, task):
    return defense.release(defense.fit(task), task)


def share_of_theirs(samples, ours, theirs):
    """The share of samples that lie nearer to their kind than to ours."""
    far = [torch.cdist(samples.flatten(1), kind.flatten(1)).min(dim=1).values for kind in (ours, theirs)]
    return (far[1] < far[0]).float().mean().item()


def test_every_image_votes_once_for_its_nearest():
    private, candidates = toy_images(20, "a").flatten(1), toy_images(7, "b").flatten(1)
    votes = count_votes(private, candidates)
    winners = ((private[:, None] - candidates) ** 2).sum(dim=2).argmin(dim=1)
    assert votes.tolist() == [(winners == one).sum() for one in range(7)]
    assert (votes - count_votes(private[1:], candidates)).norm() == 1  # one left out
    replaced = (count_votes(torch.cat([private[1:], candidates[:1]]), candidates) - votes).norm()
    assert replaced in (0, pytest.approx(math.sqrt(2)))


def test_votes_breed_towards_the_private_images(task, theirs):
    ours = task.images[:16]
    before = share_of_theirs(task.base.sample(200), ours, theirs)
    after = share_of_theirs(released(PrivateEvolution(**SHORT, epsilon="inf"), task).sample(200), ours, theirs)
    noisy = share_of_theirs(released(PrivateEvolution(**SHORT, noise_multiplier=0.5), task).sample(200), ours, theirs)
    assert before > 0.4 and after < 0.2 and noisy < 0.2


def test_endless_noise_hears_no_vote(task):
    defense = PrivateEvolution(**SHORT, noise_multiplier=1e9)
    other = replace(task, images=toy_images(24, "others"))
    assert torch.equal(released(defense, task).sample(20), released(defense, other).sample(20))


def test_each_label_is_bred_by_its_own_images(theirs):
    """Label 0 holds our kind and label 1 theirs, from a generator that knows no difference."""
    small = toy_task("label")
    ours, label = small.images[:16], torch.arange(32) // 16
    both = replace(toy_release(condition="label", memorised=torch.cat([ours, theirs])), schedule=Schedule(steps=20))
    groups = torch.arange(32)
    task = replace(
        small, images=torch.cat([ours, theirs]), labels=label, attribute=None, near_duplicates=groups, base=both
    )
    release = released(PrivateEvolution(**SHORT, epsilon="inf"), task)
    for one, expected in ((0, 0.0), (1, 1.0)):
        drawn = release.sample(100, torch.full((100,), one))
        assert share_of_theirs(drawn, ours, theirs) == pytest.approx(expected, abs=0.25)


def test_the_claim_is_exact_and_composes(task):
    defense = PrivateEvolution(iterations=4, population=5, noise_multiplier=3.0, delta=1e-3)
    found = released(defense, task).guarantee
    assert found.epsilon == gaussian_epsilon(math.sqrt(4) / 3.0, 1e-3) and found.accountant == "gaussian"
    assert found.facts["epsilon_replace_one"] == gaussian_epsilon(math.sqrt(8) / 3.0, 1e-3)
    assert found.adjacency == "zero-out" and found.history == ((3.0, 1.0, 4),)
    budget = PrivateEvolution(iterations=4, population=5, epsilon=2.0, delta=1e-3)
    assert released(budget, task).guarantee.epsilon == pytest.approx(2.0, rel=1e-9)
    private = replace(task.base, guarantee=Guarantee(epsilon=1.0, delta=1e-3, history=((2.0, 0.5, 10),)))
    both = released(defense, replace(task, base=private)).guarantee
    assert both.history == ((2.0, 0.5, 10), (3.0, 1.0, 4)) and both.epsilon == spent(both.history, 1e-3).epsilon
    assert both.facts["epsilon_replace_one"] > both.epsilon


def test_nothing_is_claimed_without_noise_or_on_a_base_that_claims_nothing(task):
    assert released(PrivateEvolution(**SHORT, epsilon="inf"), task).guarantee.void
    unknown = replace(task, base=replace(task.base, guarantee=Guarantee()))
    assert "without differential privacy" in released(PrivateEvolution(**SHORT), unknown).guarantee.void


def test_samples_alone_are_handed_out(task):
    release = released(PrivateEvolution(**SHORT, epsilon="inf"), task)
    x, t = toy_images(3), torch.full((3,), 100)
    for ask in (lambda: release.eps(x, t), lambda: release.raw_eps(x, t), lambda: release.vary(x, 0.5, x)):
        with pytest.raises(UsageError, match="no model to ask"):
            ask()
    setting = AuditSetting((Plain(), PrivateEvolution()), "none", "nothing", 1000, 24)
    assert Loss.access is Access.DENOISER
    assert skip_attack(Loss(), setting).severity == "not-applicable"


def test_more_samples_than_the_population_vary_the_same_parents(task):
    release = released(PrivateEvolution(**SHORT, epsilon="inf"), task)
    samples = release.sample(200)
    assert torch.equal(release.sample(100, first=100), samples[100:])
    assert not torch.equal(samples[:100], samples[100:])


def test_private_images_without_labels_cannot_breed_for_labels(task):
    defense = PrivateEvolution(**SHORT)
    with pytest.raises(UsageError, match="its base is told labels"):
        defense.fit(replace(toy_task(), base=toy_release(condition="label")))


def test_a_label_without_images_stays_as_it_was_drawn():
    small = replace(toy_task("label"), base=toy_release(condition="label"), labels=torch.zeros(24, dtype=torch.int64))
    assert (
        released(PrivateEvolution(**SHORT, epsilon="inf"), small)
        .sample(4, torch.ones(4, dtype=torch.int64))
        .isfinite()
        .all()
    )


@pytest.mark.parametrize("given", [{"epsilon": 1.0, "noise_multiplier": 1.0}, {"epsilon": 0}, {"features": "vgg"}])
def test_what_makes_no_budget_is_refused(given):
    with pytest.raises(ValidationError):
        PrivateEvolution(**given)
