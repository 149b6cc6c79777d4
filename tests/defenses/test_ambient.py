"""Ambient: what the masks hide is never seen nor asked for; the sampling mask makes an ordinary model of it."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from leakbench.api import AuditSetting
from leakbench.defenses import ambient
from leakbench.defenses.ambient import Ambient
from leakbench.defenses.amg import AMG
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.finetune import Finetune
from leakbench.models.denoiser_training import train_denoiser, trainable
from leakbench.models.diffusion import Schedule, add_noise, denoise, full_timesteps, predict_x0
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

STREAMS = Rng("test", 0)
ALPHA_BAR = torch.from_numpy(Schedule().alpha_bar)
SMALL = {"steps": 20, "batch": 16, "lr": 2e-3}


class Told(torch.nn.Module):
    """A network that answers what it is told to, and keeps what it was asked."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.asked, self.label = x, label
        return self.answer


def loss_of_fit(defense, task, monkeypatch):
    """The loss that fit() would train with."""
    kept = []

    def minimise(task, network, loss, *_, **__):
        kept.append(loss)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(ambient, "minimise", minimise)
        with pytest.raises(InterruptedError):
            defense.fit(task)
    return kept[0]


def batch(task, rows: int = 40, purpose: str = "batch") -> Batch:
    """Draws for the first images at spread-out timesteps; the noise has the further channel that B is made of."""
    ids = torch.arange(rows)
    return Batch(ids, ids * 24, STREAMS.of(purpose).normal(ids, (2, 8, 8)))


@pytest.fixture(scope="module")
def release(digits_task):
    """Of 140 images, trained long enough to fill in pixels."""
    images = torch.cat([digits_task.images, digits_task.heldout])
    task = replace(digits_task, images=images, near_duplicates=torch.arange(140))
    defense = Ambient(steps=1000, batch=64, lr=4e-3, p=0.2, delta=0.3)
    return defense.release(defense.fit(task), task)


# Masks ---------------------------------------------------------------------------------------------------------------


def test_masks_are_coins_of_their_images_fixed_and_shared_by_channels(digits_task):
    many = replace(digits_task, images=torch.zeros(1000, 3, 8, 8), near_duplicates=torch.arange(1000))
    many = replace(many, network=many.network.model_copy(update={"shape": (3, 8, 8)}))
    shown, sampled = Ambient(p=0.4).masks(many)
    assert shown.shape == (1000, 1, 8, 8) and set(shown.unique().tolist()) == {0.0, 1.0}
    assert stats.binomtest(int(shown.sum()), shown.numel(), 0.6).pvalue > 1e-3
    assert sampled.shape == (3, 8, 8) and torch.equal(sampled[0], sampled[2])
    assert torch.equal(Ambient(p=0.4, delta=0.7).masks(many.subset(torch.arange(50)))[0], shown[:50])
    keeps = [Ambient(p=p, delta=d).masks(many)[1].mean() for p, d in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5))]
    assert keeps[0] == 1 > keeps[1] > keeps[2] > 0


def test_the_further_mask_is_drawn_afresh_and_keeps_its_share(digits_task, monkeypatch):
    defense, seen = Ambient(p=0.4, delta=0.25), []
    loss, shown = loss_of_fit(defense, digits_task, monkeypatch), defense.masks(digits_task)[0]
    for purpose in range(40):
        network = Told(torch.zeros(40, 1, 8, 8))
        loss(network, batch(digits_task, purpose=f"draw {purpose}"))
        x, mask = network.asked.chunk(2, dim=1)
        assert torch.equal(mask * shown, mask) and bool((x[mask == 0] == 0).all())
        seen.append(mask)
    kept = torch.stack(seen)[:, shown == 1]
    assert stats.binomtest(int(kept.sum()), kept.numel(), 0.75).pvalue > 1e-3
    assert 0 < float(kept.mean(dim=0).std()) < 3 * np.sqrt(0.75 * 0.25 / 40)  # no pixel of an image is always hidden


@pytest.mark.parametrize(("p", "delta", "named"), [(0.999, 0.0, "p = 0.999"), (0.0, 0.9999, "delta = 0.9999")])
def test_a_mask_that_hides_everything_is_an_error_that_names_it(p, delta, named, digits_task):
    with pytest.raises(UsageError, match=named) as error:
        Ambient(**SMALL, p=p, delta=delta).fit(digits_task)
    assert "\n" not in str(error.value)


# The loss ------------------------------------------------------------------------------------------------------------


def test_its_gradient_is_zero_outside_a_and_not_inside(digits_task, monkeypatch):
    defense = Ambient(p=0.4, delta=0.3)
    loss, shown = loss_of_fit(defense, digits_task, monkeypatch), defense.masks(digits_task)[0]
    network = Told(torch.full((40, 1, 8, 8), 3.0, requires_grad=True))
    loss(network, batch(digits_task)).backward()
    assert torch.equal(network.answer.grad != 0, shown == 1)  # of what B hides as well
    assert bool((network.asked[:, 1:] < shown).any())


def test_without_masks_it_is_the_ordinary_loss_of_x0(digits_task, monkeypatch):
    """EDM's c_skip = s^2 / (n^2 + s^2) for data of deviation s = 1/2 and noise n in units of the image, min-SNR-5."""
    loss = loss_of_fit(Ambient(p=0.0, delta=0.0), digits_task, monkeypatch)
    answer = STREAMS.of("answer").normal(torch.arange(40), (1, 8, 8))
    network, drawn = Told(answer), batch(digits_task)
    value, expected = loss(network, drawn), 0.0
    for i in range(40):
        abar, x0 = float(ALPHA_BAR[24 * i]), digits_task.images[i].double()
        noise = (1 - abar) ** 0.5 / abar**0.5
        c_skip = 0.25 / (noise**2 + 0.25)
        found = c_skip * (x0 + noise * drawn.noise[i, :1].double()) + (1 - c_skip) * answer[i].double()
        expected += min(1 / noise**2, 5.0) * float((found - x0).square().mean()) / 40
    assert float(value) == pytest.approx(expected, rel=1e-4)
    x_t = add_noise(digits_task.schedule, digits_task.images, drawn.t, drawn.noise[:, :1])
    assert torch.equal(network.asked, torch.cat([x_t, torch.ones_like(x_t)], dim=1))


def test_what_is_hidden_never_reaches_the_weights(digits_task):
    """Other pixels where A hides: the same weights, bit for bit. Other pixels where it does not: other weights."""
    defense = Ambient(**SMALL, p=0.4)
    shown = defense.masks(digits_task)[0] == 1
    hidden, seen = (torch.where(mask, digits_task.images, 0.5) for mask in (shown, ~shown))
    first, *others = (
        torch.cat([p.flatten() for p in defense.fit(task).networks["inner"].parameters()])
        for task in (digits_task, replace(digits_task, images=hidden), replace(digits_task, images=seen))
    )
    assert torch.equal(first, others[0]) and not torch.equal(first, others[1])


# What it hands out ---------------------------------------------------------------------------------------------------


def test_eps_is_that_of_x0_under_the_fixed_mask(digits_task, release):
    x = STREAMS.of("x").normal(torch.arange(6), (1, 8, 8))
    t, network = torch.tensor([0, 1, 10, 200, 700, 999]), release.network
    hidden, snr = network.mask == 0, (ALPHA_BAR[t] / (1 - ALPHA_BAR[t])).view(-1, 1, 1, 1)
    guess = network.inner(torch.cat([network.mask * x, network.mask.expand_as(x)], dim=1), t).double()
    shown = (snr * x / ALPHA_BAR[t].view(-1, 1, 1, 1).sqrt() + 4 * guess) / (snr + 4)
    x0 = predict_x0(digits_task.schedule, x.double(), t, release.eps(x, t).double())
    torch.testing.assert_close(x0, torch.where(hidden, guess, shown), rtol=1e-3, atol=1e-3)
    turned = release.network.inner(
        torch.cat([network.mask * torch.where(hidden, -x, x), network.mask.expand_as(x)], 1), t
    )
    assert torch.equal(turned.double(), guess)
    assert release.eps_is_raw and network.spec == digits_task.network and release.guarantee.to_json() == {}
    assert 0.3 < float(network.mask.mean()) < 0.85


def test_it_fills_in_what_its_mask_hides(digits_task, release):
    """Better than the mean image could."""
    hidden, x0 = release.network.mask == 0, torch.cat([digits_task.images, digits_task.heldout])
    x = add_noise(
        digits_task.schedule, x0, full_timesteps(50, x0), STREAMS.of("fill").normal(torch.arange(140), (1, 8, 8))
    )
    found = predict_x0(digits_task.schedule, x, full_timesteps(50, x), release.eps(x, full_timesteps(50, x)))
    error, ignorant = ((guess - x0)[:, hidden].square().mean() for guess in (found, x0.mean(dim=0, keepdim=True)))
    assert float(error) < 0.8 * float(ignorant)


def test_samples_look_like_data(digits_task, release):
    """Pixel means of what was trained on; where the mask shows, its spread; where it hides, a smaller one."""
    data = torch.cat([digits_task.images, digits_task.heldout]).flatten(1)
    samples = denoise(Schedule(steps=50), release.eps, release.initial_noise(torch.arange(200))).flatten(1)
    shown = release.network.mask.flatten() == 1
    spread = [float(samples[:, part].std(dim=0).mean() / data[:, part].std(dim=0).mean()) for part in (shown, ~shown)]
    assert float((samples.mean(dim=0) - data.mean(dim=0)).abs().mean()) < 0.25
    assert 0.6 < spread[0] < 1.3 and 0.1 < spread[1] < spread[0]


def test_gradients_reach_the_input_and_the_weights(release):
    x = STREAMS.of("x").normal(torch.arange(3), (1, 8, 8)).requires_grad_(True)
    network = trainable(release.network, torch.device("cpu"))
    network(x, torch.tensor([0, 300, 999])).square().sum().backward()
    assert bool((x.grad != 0).all()) and all(bool((p.grad != 0).any()) for p in network.parameters())
    assert not any(p.requires_grad for p in release.network.parameters())


def test_it_can_be_copied_trained_further_and_loaded(digits_task, release):
    network = trainable(release.network, torch.device("cpu"))
    task = replace(digits_task, base=release)
    train_denoiser(task, Recipe(30, 16, 1e-3), "further", network=network)
    twin = copy.deepcopy(release.network)
    twin.load_state_dict({key: value.clone() for key, value in network.state_dict().items()})
    x = STREAMS.of("x").normal(torch.arange(5), (1, 8, 8))
    assert torch.equal(twin(x, full_timesteps(40, x)), network(x, full_timesteps(40, x)))
    assert not torch.equal(twin(x, full_timesteps(40, x)), release.eps(x, full_timesteps(40, x)))


def test_unlearning_edits_it_and_guidance_runs_over_it(digits_task, release):
    forget = torch.arange(40) < 8
    task = replace(digits_task, base=release, forget=forget, chain=(Ambient(),))
    tuned = Finetune(steps=5, batch=8)
    edited = tuned.release(tuned.fit(task), task)
    assert torch.equal(edited.network.mask, release.network.mask)
    assert not torch.equal(edited.sample(3), release.sample(3))
    over = replace(digits_task, base=edited)
    for defense in (AMG(scale=0.5), CPSample(steps=4, batch=8)):
        guided = defense.release(defense.fit(over), over)
        assert bool(guided.sample(3).isfinite().all()) and guided.network is edited.network


def test_it_trains_on_labels(digits_task, monkeypatch):
    labels = torch.arange(40) % 3
    spec = digits_task.network.model_copy(update={"conditions": 3})
    task = replace(digits_task, labels=labels, condition="label", network=spec)
    network, drawn = Told(torch.zeros(40, 1, 8, 8)), batch(digits_task)
    loss_of_fit(Ambient(), task, monkeypatch)(network, replace(drawn, index=drawn.index.flip(0)))
    assert torch.equal(network.label, labels.flip(0))
    defense = Ambient(**SMALL)
    release, x = defense.release(defense.fit(task), task), digits_task.images[:2].repeat(2, 1, 1, 1)
    answers = release.eps(x, full_timesteps(500, x), torch.tensor([0, 0, 1, 1]))
    assert release.conditions == 3 and not torch.equal(answers[:2], answers[2:])


def test_it_shares_the_baselines_parameters():
    place = AuditSetting((), "none", "nothing", 1000, 40)
    assert Ambient().recipe == Baseline().recipe and Ambient.role == "defense" and Ambient().skip(place) is None
