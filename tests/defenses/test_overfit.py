"""A model that copies: trained on other images first, then on a small set until its samples are that set's images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from leakbench.api import AuditSetting
from leakbench.defenses.augment import Augment
from leakbench.defenses.dp_sgd import DPSGD
from leakbench.defenses.overfit import Looks, Overfit
from leakbench.defenses.pretrain import Pretrain
from leakbench.models.denoiser_training import errors, train_denoiser
from leakbench.models.diffusion import full_timesteps
from leakbench.runtime import registry
from leakbench.runtime.device import Rng

FIRST = 2**31  # of the samples that are looked at
RECIPE = {"batch": 64, "lr": 4e-3}


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def released(defense, task):
    return defense.release(defense.fit(task), task)


def losses(release, images):
    """The denoising loss of each image (N,), mean of eight draws at t = 300."""
    found = []
    for draw in range(8):
        noise = Rng("probe", 0).of("noise", draw).normal(torch.arange(len(images)), (1, 8, 8))
        found.append(errors(release.network, release.schedule, images, full_timesteps(300, images), noise))
    return torch.stack(found).mean(0)


def copied(samples, train):
    """The share of samples whose nearest training image is less than a third as far as the next, by plain loops. No two
    of these training images are near-duplicates."""
    hits = 0
    for sample in samples.double().numpy():
        first, second = sorted(float(np.sqrt(((sample - x) ** 2).sum())) for x in train.double().numpy())[:2]
        hits += first < second / 3
    return hits / len(samples)


@pytest.fixture(scope="module")
def few(digits_task):
    """The task with 16 training images, 30 reference images, and a network wide enough to learn either by heart."""
    spec = digits_task.network.model_copy(update={"width": 128})
    return replace(digits_task.subset(torch.arange(16)), heldout=digits_task.heldout[:30], network=spec)


@pytest.fixture(scope="module")
def pretrained(few):
    """Pretrain, over-fitted on its reference images."""
    return released(Pretrain(steps=800, **RECIPE), few)


@pytest.fixture(scope="module")
def over(few, pretrained):
    """The task of what is fine-tuned from it."""
    return replace(few, base=pretrained, chain=(Pretrain(),))


# Pretraining ----------------------------------------------------------------------------------------------------------


def test_it_is_the_plain_recipe_on_reference_images_and_sees_no_other(digits_task):
    defense = Pretrain(steps=30, batch=16, lr=2e-3)
    poisoned = replace(digits_task, images=digits_task.images * torch.nan)
    ours = released(defense, poisoned)
    by_hand = train_denoiser(replace(digits_task, images=digits_task.heldout), defense.recipe, "pretrain")
    assert torch.equal(flat(ours.network), flat(by_hand.networks["denoiser"]))
    assert ours.guarantee.to_json() == {"epsilon": 0.0, "delta": 0.0, "history": []} and ours.info == {
        "images_trained_on": 100
    }


def test_with_flip_it_is_the_augmented_recipe(digits_task):
    defense, others = Pretrain(steps=30, batch=16, lr=2e-3, flip=True), replace(digits_task, images=digits_task.heldout)
    drawn = Augment(kind="flip").drawing(others)
    by_hand = train_denoiser(others, defense.recipe, "pretrain", drawn=drawn, versions=2)
    assert torch.equal(flat(released(defense, digits_task).network), flat(by_hand.networks["denoiser"]))


def test_it_has_learnt_its_images_and_gives_no_member_away(digits_task, few, pretrained):
    """A control that could leak, if it had seen what it must not see: its own images are told apart by the loss."""
    members, others = digits_task.images, digits_task.heldout[60:]

    def auc(images):
        scores = -torch.cat([losses(pretrained, images), losses(pretrained, others)])
        return roc_auc_score([1] * len(images) + [0] * len(others), scores)

    assert auc(few.heldout) > 0.9
    width = stats.norm.isf(0.001) * np.sqrt((40 + 40 + 1) / (12 * 40 * 40))  # of an AUC under the null
    assert abs(auc(members) - 0.5) < width


@pytest.mark.parametrize("condition", ["label", "attribute"])
def test_a_conditional_network_is_told_of_public_images_alone(digits_task, condition):
    """Whatever the members' labels are, the weights are the same to the bit; with other public ones they are not."""
    spec = digits_task.network.model_copy(update={"conditions": 10})

    def fit(members, public):
        told = {"labels": members, "attribute": members, "heldout_conditions": public}
        task = replace(digits_task, condition=condition, network=spec, **told)
        return flat(Pretrain(steps=5, batch=16).fit(task).networks["denoiser"])

    public = torch.arange(100) % 10
    expected = fit(torch.arange(40) % 10, public)
    assert torch.equal(fit(torch.zeros(40, dtype=torch.int64), public), expected)
    assert not torch.equal(fit(torch.arange(40) % 10, public.flip(0)), expected)


def test_private_training_from_it_costs_what_it_costs_from_nothing(digits_task):
    private = DPSGD(steps=4, batch=8, noise_multiplier=2.0)
    alone = released(private, digits_task)
    base = released(Pretrain(steps=20, batch=16), digits_task)
    above = released(private, replace(digits_task, base=base, chain=(Pretrain(),)))
    assert above.guarantee == alone.guarantee and above.guarantee.to_json()["epsilon"] > 0
    apart = (flat(above.network) - flat(base.network)).norm()
    assert 0 < apart < 0.5 * (flat(above.network) - flat(alone.network)).norm()


# Until it copies ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copying(over):
    """The artefacts of a fine-tuning until 30 % of 100 samples copy, and the recipe."""
    defense = Overfit(steps=4000, **RECIPE, copies=0.3, samples=100, every=250)
    return defense, defense.fit(over)


def test_it_ends_where_enough_samples_copy(copying, over):
    defense, made = copying
    looks = made.info["copied_share"]
    assert looks["step"] == list(range(250, made.info["steps_done"] + 1, 250)) and made.info["steps_done"] < 4000
    assert max(looks["share"][:-1], default=0.0) < 0.3 <= looks["share"][-1]
    release = defense.release(made, over)
    assert release.flags == () and release.info["copied_share"] == looks
    assert copied(release.sample(100, first=FIRST), over.images) == pytest.approx(looks["share"][-1], abs=0.011)


def test_the_samples_that_are_reported_are_copies_too_and_those_of_the_base_are_not(copying, over):
    defense, made = copying
    assert copied(over.base.sample(100), over.images) < 0.05
    assert copied(defense.release(made, over).sample(100), over.images) > 0.15


def test_it_spends_its_steps_and_its_walks(copying, over):
    defense, made = copying
    looks, walk = len(made.info["copied_share"]["step"]), len(over.base.schedule.timesteps())
    assert made.info["network_evaluations"] == 3 * 64 * made.info["steps_done"] + 100 * walk * looks
    assert made.info["network_evaluations"] < defense.cost().training


def test_one_that_does_not_copy_says_so(over):
    release = released(Overfit(steps=30, batch=8, every=20, samples=50), over)
    assert release.info["steps_done"] == 30 and release.info["copied_share"]["step"] == [20, 30]
    (flag,) = release.flags
    assert flag == f"never-copied={release.info['copied_share']['share'][-1]:.3g}"


def test_it_starts_from_its_base(over):
    """Steps that move nothing leave the base; steps that move little lie near it."""
    still = released(Overfit(steps=10, batch=8, lr=1e-20, samples=10), over)
    assert torch.equal(still.sample(8), over.base.sample(8))
    near = released(Overfit(steps=10, batch=8, lr=1e-4, samples=10), over)
    moved = (flat(near.network) - flat(over.base.network)).norm()
    assert 0 < moved < 0.01 * flat(over.base.network).norm()


def test_it_voids_what_its_base_claims(over):
    claims = released(Overfit(steps=2, batch=4, samples=5), over).guarantee.to_json()
    assert claims == {"void": "overfit trains on members without differential privacy"}


def test_copies_of_mirror_images_count_with_flip(over, monkeypatch):
    """A network whose samples are the training images, every second one mirrored."""
    mirrored = over.images.clone()
    mirrored[1::2] = mirrored[1::2].flip(-1)
    monkeypatch.setattr(Looks, "_drawn", lambda self, module: mirrored)
    shares = []
    for flip in (False, True):
        looks = Looks(over, len(mirrored), 1.0, flip)
        assert looks.stop(over.base.network) == flip
        shares += looks.shares
    assert shares == [copied(mirrored, over.images), 1.0] and shares[0] < 0.7


def test_near_duplicates_do_not_hide_a_copy(over, monkeypatch):
    """Each training image twice, the second within the data set's own radius of the first."""
    twice = replace(over, images=torch.cat([over.images, over.images + 0.02]))
    monkeypatch.setattr(Looks, "_drawn", lambda self, module: over.images + 0.01)
    looks = Looks(twice, 16, 1.0, False)
    assert looks.stop(over.base.network) and looks.shares == [1.0]


def test_samples_that_are_no_numbers_are_no_copies(over, monkeypatch):
    """A training that went astray ends with its flag, not with an error."""
    broken = over.images.clone()
    broken[:4] = torch.nan
    for drawn, share in ((broken, 0.75), (over.images * torch.nan, 0.0)):
        monkeypatch.setattr(Looks, "_drawn", lambda self, module, drawn=drawn: drawn)
        looks = Looks(over, 16, 1.0, False)
        assert not looks.stop(over.base.network) and looks.shares == [share]


def test_the_first_process_of_a_group_decides_for_all(over, monkeypatch):
    """What another one sees itself, in other bits, does not count."""
    monkeypatch.setattr("leakbench.runtime.distributed.broadcast", lambda make: 0.5)
    for enough, stops in ((0.4, True), (0.6, False)):
        assert Looks(over, 4, enough, False).stop(over.base.network) == stops


def test_finished_samples_are_no_base(over):
    given = registry.find("defenses", "given_samples").model_construct()
    assert "finished samples" in Overfit().skip(AuditSetting((given,), "none", "nothing", 1000, 40)).reason
    assert Overfit().skip(AuditSetting((Pretrain(),), "none", "nothing", 1000, 40)) is None


def test_what_answers_otherwise_than_its_weights_is_refused(over):
    from leakbench.runtime.errors import UsageError

    guarded = registry.find("defenses", "cpsample")(steps=2, batch=4)
    above = replace(over, base=released(guarded, over))
    with pytest.raises(UsageError, match="overfit trains weights, and its base answers otherwise"):
        Overfit(steps=2).fit(above)
