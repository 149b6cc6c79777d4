"""CPSample: the classifier memorises coins, the guidance has the right sign and size, the gate is per image."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from leakbench.api import Release
from leakbench.defenses import cpsample
from leakbench.defenses.cpsample import CPSample, ProtectedRelease, random_labels
from leakbench.models.diffusion import add_noise, ddim_step, denoise, full_timesteps
from leakbench.models.training.gradients import Batch
from leakbench.runtime.device import Rng

STREAMS = Rng("test", 0)
ALPHA_BAR = torch.from_numpy(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
SLOPE = STREAMS.of("slope").normal(torch.arange(64))


class Linear(torch.nn.Module):
    """logit = offset + slope . x, or a constant where slope is 0."""

    def __init__(self, offset: float, slope: float = 1.0) -> None:
        super().__init__()
        self.offset, self.slope = offset, slope

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return self.offset + self.slope * (x.flatten(1) @ SLOPE.to(x.dtype))


class Negated(torch.nn.Module):
    """A classifier whose two labels are swapped."""

    def __init__(self, classifier: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return -self.classifier(x, t)


def with_classifier(release: Release, classifier: torch.nn.Module, alpha: float, scale: float = 1) -> ProtectedRelease:
    return ProtectedRelease.wrap(release, parts={"classifier": classifier}, alpha=alpha, scale=scale)


def states(task, t: int) -> torch.Tensor:
    """Members and held-out images, noised to t."""
    x0 = torch.cat([task.images, task.heldout[:40]])
    return add_noise(
        task.schedule, x0, full_timesteps(t, x0), STREAMS.of("states", t).normal(torch.arange(80), (1, 8, 8))
    )


def gates(release: ProtectedRelease, x: torch.Tensor, t: int) -> torch.Tensor:
    return release.guided(x, full_timesteps(t, x))[1]


# The labels and the classifier ---------------------------------------------------------------------------------------


def loss_of_fit(defense, task, monkeypatch):
    """The loss that fit() would train with."""
    kept = []
    monkeypatch.setattr(cpsample, "train", lambda module, loss, *_, **__: kept.append(loss))
    defense.fit(task)
    return kept[0]


def test_labels_are_fair_coins_that_near_duplicates_share():
    labels = random_labels(torch.arange(20_000), STREAMS.of("labels"))
    assert stats.binomtest(int(labels.sum()), 20_000).pvalue > 1e-3 and set(labels.tolist()) == {0.0, 1.0}
    runs = (labels[1:] != labels[:-1]).sum()
    assert stats.binomtest(int(runs), 19_999).pvalue > 1e-3
    groups = torch.tensor([4, 9, 4, 4, 1, 9])
    shared = random_labels(groups, STREAMS.of("labels"))
    assert torch.equal(shared, labels[groups])


def test_training_gives_a_group_one_label(task, small, monkeypatch):
    groups = torch.arange(40) // 4
    loss = loss_of_fit(CPSample(**small), replace(task, near_duplicates=groups), monkeypatch)
    sure = Linear(10.0, slope=0.0)  # its loss is 0 where the label is 1, and 10 where it is 0
    one = [Batch(torch.tensor([i]), torch.tensor([0]), torch.zeros(1, 1, 8, 8)) for i in range(40)]
    labels = torch.tensor([float(loss(sure, batch)) < 5 for batch in one]).view(10, 4)
    assert bool((labels == labels[:, :1]).all()) and 0 < int(labels[:, 0].sum()) < 10


@pytest.mark.parametrize("flip", [False, True])
def test_with_flip_both_orientations_are_trained_on_under_one_label(flip, task, small, monkeypatch):
    loss, seen = loss_of_fit(CPSample(**small, flip=flip), task, monkeypatch), []

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.extend(x / ALPHA_BAR[t].sqrt().float().view(-1, 1, 1, 1))
        return torch.full((len(x),), 10.0)

    for t in (0, 7, 500):  # at any t: orientation must not hang on the timestep
        for i in (0, 3):
            seen.clear()
            value = loss(network, Batch(torch.full((8,), i), torch.full((8,), t), torch.zeros(8, 1, 8, 8)))
            image, mirror = task.images[i], task.images[i].flip(-1)
            straight = sum(torch.allclose(x, image, atol=1e-5) for x in seen)
            turned = sum(torch.allclose(x, mirror, atol=1e-5) for x in seen)
            assert (straight, turned) == ((4, 4) if flip else (8, 0))
            assert min(abs(float(value) - 10), float(value)) < 1e-3  # one label for all: never a mixture


def test_the_classifier_knows_members_and_nobody_else(task, artefacts):
    found = artefacts.info["classifier_accuracy_by_t"]
    assert found["t"] == list(range(0, 1000, 100))
    assert found["member"][0] > 0.97 and found["member"][0] > found["member"][-1]
    assert all(abs(accuracy - 0.5) < 0.17 for accuracy in found["heldout"])  # 3.4 standard errors of 100 images
    assert all(0 <= share <= 1 for share in found["confident"])


def test_on_held_out_images_it_agrees_with_no_coins(artefacts, task):
    """Against many sets of coins: on average one half at every t."""
    for t in (0, 50, 300, 900):
        guess = artefacts.networks["classifier"](task.heldout, full_timesteps(t, task.heldout)) > 0
        coins = torch.stack([random_labels(torch.arange(100), STREAMS.of("coins", i)) > 0.5 for i in range(200)])
        assert abs(float((coins == guess).float().mean()) - 0.5) < 0.012


def test_confidence_gives_members_away(task, artefacts):
    """Who holds the classifier holds a membership oracle: |p - 1/2| on clean images."""
    x = torch.cat([task.images, task.heldout])
    sure = (torch.sigmoid(artefacts.networks["classifier"](x, full_timesteps(0, x))) - 0.5).abs()
    assert roc_auc_score([1] * 40 + [0] * 100, sure) > 0.6


def test_with_flip_the_classifier_knows_mirrored_members_too(task, small):
    quicker = {**small, "steps": 1000, "lr": 4e-3}
    classifier = CPSample(**quicker, flip=True).fit(task).networks["classifier"]
    labels = random_labels(task.near_duplicate_groups, task.streams.of("labels", "cpsample")) > 0.5
    for t in (0, 1, 20):
        for images in (task.images, task.images.flip(-1)):
            assert float(((classifier(images, full_timesteps(t, images)) > 0) == labels).float().mean()) > 0.95


# The guidance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "alpha"), [(0, 0.001), (40, 0.1), (400, 0.3), (990, 0.5)])
def test_eps_hat_is_autograd_of_the_formula_in_float64(t, alpha, task, protect):
    release = protect(alpha=alpha, scale=7.0)
    classifier = release.parts["classifier"]
    double = type(classifier)(classifier.spec).double()
    double.load_state_dict({key: value.double() for key, value in classifier.state_dict().items()})
    double.time.register_forward_pre_hook(lambda _, embedding: (embedding[0].double(),))
    x = states(task, t).double().requires_grad_(True)
    p = torch.sigmoid(double(x, full_timesteps(t, x)))
    log_opposite = torch.where(p < 0.5, torch.log(p), torch.log(1 - p))
    (gradient,) = torch.autograd.grad(log_opposite.sum(), x)
    fires = (p < alpha) | (p > 1 - alpha)
    guidance = 7.0 * (1 - ALPHA_BAR[t]).sqrt() * gradient * fires.view(-1, 1, 1, 1)
    x = x.detach().float()
    answer, gate = release.guided(x, full_timesteps(t, x))
    assert torch.equal(gate, fires) and int(gate.sum()) > 0
    torch.testing.assert_close(
        answer.double(), task.base.eps(x, full_timesteps(t, x)).double() - guidance, atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("offset", [-3.0, 3.0, -40.0, 40.0])
def test_a_guided_step_moves_towards_the_other_label(offset, task):
    release = with_classifier(task.base, Linear(offset, slope=0.01), alpha=0.25)
    x = states(task, 300)
    plain, guided = (
        ddim_step(task.schedule, x, 300, 200, r.eps(x, full_timesteps(300, x))) for r in (task.base, release)
    )
    before, after = (Linear(offset, slope=0.01)(y, full_timesteps(200, y)) for y in (plain, guided))
    assert bool((after.abs() < before.abs()).all())


@pytest.mark.parametrize("offset", [-40.0, 40.0, -200.0, 200.0, 1e4])
def test_guidance_does_not_vanish_where_the_classifier_is_certain(offset, task):
    """grad log p = (1 - p) grad logit, which is grad logit at p = 0: p itself rounds to 0 or 1 there."""
    release, x = with_classifier(task.base, Linear(offset), alpha=0.001, scale=2.0), 0.1 * states(task, 300)
    guidance = task.base.eps(x, full_timesteps(300, x)) - release.eps(x, full_timesteps(300, x))
    size = 2.0 * float((1 - ALPHA_BAR[300]).sqrt())
    expected = -np.sign(offset) * size * SLOPE.view(1, 1, 8, 8)
    torch.testing.assert_close(guidance, expected.expand_as(x).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.001, 0.1, 0.25, 0.5])
def test_the_gate_is_strict(alpha, task):
    edge = np.float32(np.log((1 - alpha) / alpha))
    x = states(task, 300)
    for sign in (-1, 1):
        below, above = np.nextafter(edge, np.float32(-1)), np.nextafter(edge, np.float32(99))
        for logit, fires in ((edge, False), (above, True), (below, alpha == 0.5 and below < 0)):
            release = with_classifier(task.base, Linear(sign * float(logit), slope=0.0), alpha)
            assert bool((gates(release, x, 300) == fires).all())


def test_the_gate_is_per_image(task, protect):
    release = protect(alpha=0.1, scale=5.0)
    x = states(task, 100)
    eps, gate = release.guided(x, full_timesteps(100, x))
    assert 0 < int(gate.sum()) < 80
    for i in range(0, 80, 13):
        mates = torch.cat([x[i : i + 1], STREAMS.of("mates", i).normal(torch.arange(79), (1, 8, 8))])
        other, fired = release.guided(mates, full_timesteps(100, mates))
        assert bool(fired[0]) == bool(gate[i])
        torch.testing.assert_close(other[0], eps[i], atol=1e-5, rtol=1e-4)
    shut = ~gate
    assert torch.equal(eps[shut], task.base.eps(x, full_timesteps(100, x))[shut])


def test_the_classifier_is_not_gone_back_through_where_no_gate_of_a_batch_is_open(task, protect, monkeypatch):
    x, grad, backward = states(task, 100), torch.autograd.grad, []
    monkeypatch.setattr(torch.autograd, "grad", lambda *args: backward.append(args) or grad(*args))
    plain = task.base.eps(x, full_timesteps(100, x))
    eps, gate = protect(alpha=1e-30, scale=5.0).guided(x, full_timesteps(100, x))
    assert torch.equal(eps, plain) and gate.shape == (80,) and not gate.any() and not backward
    assert gates(protect(alpha=0.1, scale=5.0), x, 100).any() and len(backward) == 1


def test_no_protection_is_plain_ddim_bit_for_bit(task, protect):
    plain = task.base.sample(12)
    assert torch.equal(protect(alpha=0.0, scale=1000.0).sample(12), plain)
    assert torch.equal(protect(alpha=0.5, scale=0.0).sample(12), plain)
    assert not torch.allclose(protect(alpha=0.5, scale=10.0).sample(12), plain, atol=1e-2)
    noise = task.streams.of("sampling").normal(torch.arange(12), (1, 8, 8))
    torch.testing.assert_close(plain, denoise(task.schedule, task.base.raw_eps, noise), atol=1e-4, rtol=1e-4)


def test_a_larger_alpha_fires_more_often_and_one_half_always(task, protect):
    x = [(states(task, t), t) for t in (0, 100, 400, 800)]
    releases = [protect(alpha=alpha) for alpha in (0.0, 0.001, 0.1, 0.25, 0.5)]
    fired = [torch.cat([gates(release, *state) for state in x]) for release in releases]
    for fewer, more in pairwise(fired):
        assert bool((more | ~fewer).all()) and int(more.sum()) > int(fewer.sum())
    assert int(fired[0].sum()) == 0 and bool(fired[-1].all())


def test_swapping_the_two_labels_protects_alike(task, protect):
    release = protect(alpha=0.25, scale=10.0)
    swapped = with_classifier(task.base, Negated(release.parts["classifier"]), 0.25, 10.0)
    torch.testing.assert_close(swapped.sample(12), release.sample(12), atol=1e-6, rtol=0)


def test_the_random_direction_has_the_same_gate_and_norm_but_not_the_direction(task, protect):
    x = states(task, 200)
    plain = task.base.eps(x, full_timesteps(200, x))
    releases = [protect(alpha=0.25, scale=10.0, direction=direction) for direction in ("classifier", "random")]
    (ours, gate), (control, same) = (release.guided(x, full_timesteps(200, x)) for release in releases)
    assert torch.equal(gate, same)
    ours, control = ((eps - plain)[gate].flatten(1) for eps in (ours, control))
    torch.testing.assert_close(control.norm(dim=1), ours.norm(dim=1), atol=1e-4, rtol=1e-3)
    assert float(torch.cosine_similarity(ours, control).abs().max()) < 0.6


def test_extreme_settings_stay_finite(protect):
    for alpha in (1e-300, 0.001, 0.5):
        images = protect(alpha=alpha, scale=1000.0).sample(6)
        assert bool(images.isfinite().all()) and float(images.abs().max()) <= 1
