"""Training on noisy data: the loss against a regression on Gaussian data, one noise an image, where the walk ends."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from leakbench.api import AuditSetting, Release
from leakbench.defenses import noise_data
from leakbench.defenses.amg import AMG
from leakbench.defenses.noise_data import NoiseData, further, noisy_data
from leakbench.models.diffusion import Schedule, add_noise, denoise, full_timesteps
from leakbench.models.training.gradients import Batch
from leakbench.runtime.device import Rng

STREAMS = Rng("test", 0)
SCHEDULE = Schedule()
ALPHA_BAR = torch.from_numpy(SCHEDULE.alpha_bar)
MEAN, SPREAD = 0.3, 0.6  # of the Gaussian data


def gaussian_eps(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
    """The true noise prediction for Gaussian data, pixel by pixel."""
    abar = ALPHA_BAR[t].view(-1, 1, 1, 1)
    gain = abar.sqrt() * SPREAD**2 / (abar * SPREAD**2 + 1 - abar)
    x0 = MEAN + gain * (x - abar.sqrt() * MEAN)
    return ((x - abar.sqrt() * x0) / (1 - abar).sqrt()).to(x.dtype)


def regressed(target: torch.Tensor, on: torch.Tensor) -> torch.Tensor:
    """The straight line through (on, target), at `on`."""
    slope, level = np.polyfit(on.flatten().numpy(), target.flatten().numpy(), 1)
    return level + slope * on


def parts_of_fit(defense, task, monkeypatch):
    """The loss that fit() would train with, and how many timesteps it draws from."""
    kept = []

    def minimise(task, network, loss, *_, timesteps, **__):
        kept.append((loss, timesteps))
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(noise_data, "minimise", minimise)
        with pytest.raises(InterruptedError):
            defense.fit(task)
    return kept[0]


class Kept(torch.nn.Module):
    """Answers a leaf, and keeps what it was asked."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer.clone().requires_grad_(True)

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.x, self.t, self.label = x, t, label
        return self.answer


def draws(purpose: str = "draws", t: int = 0) -> Batch:
    """One draw for each of the 40 images."""
    return Batch(torch.arange(40), torch.full((40,), t), STREAMS.of(purpose).normal(torch.arange(40), (1, 8, 8)))


# The loss ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "t"), [(0, 40), (100, 130), (100, 500), (300, 999)])
def test_on_gaussian_data_its_minimum_is_the_noise_of_the_clean_image(n, t):
    """What is asked of (r / sigma_t) eps is E[z | x_t], and xn_hat of the true h is E[x_n | x_t]: by regression."""
    numbers, shape = torch.arange(4000), (1, 8, 8)
    clean, first, z = (STREAMS.of("gauss", i).normal(numbers, shape).double() for i in range(3))
    x_n = add_noise(SCHEDULE, MEAN + SPREAD * clean, full_timesteps(n, clean), first)
    q, r, sigma = further(SCHEDULE, n, full_timesteps(t, clean), clean)
    x_t = q * x_n + r * z
    eps = gaussian_eps(x_t, full_timesteps(t, x_t))
    assert float((regressed(z, x_t) - r / sigma * eps).square().mean().sqrt()) < 5e-3
    abar = ALPHA_BAR[t]
    h = (x_t - (1 - abar).sqrt() * eps) / abar.sqrt()
    xn_hat = (x_t + (r.square() / (1 - abar)) * (abar.sqrt() * h - x_t)) / q
    assert float((regressed(x_n, x_t) - xn_hat).square().mean().sqrt()) < 5e-3
    # and x_t is as noisy as a clean image noised to t
    assert float(x_t.var()) == pytest.approx(float(abar * SPREAD**2 + 1 - abar), rel=0.01)


def test_the_loss_is_the_published_formula(digits_task, monkeypatch):
    n = 80
    loss, timesteps = parts_of_fit(NoiseData(level=n), digits_task, monkeypatch)
    drawn = replace(draws(), t=torch.arange(40) * 22)
    network = Kept(STREAMS.of("answer").normal(torch.arange(40), (1, 8, 8)))
    value, z, x_n = loss(network, drawn), drawn.noise.double(), noisy_data(digits_task, n).double()
    assert timesteps == 920 and torch.equal(network.t, n + drawn.t)
    expected = []
    for i in range(1, 40):  # at i = 0, t = n: 0 / 0 in this form
        sn, st = 1 - ALPHA_BAR[n], 1 - ALPHA_BAR[n + 22 * i]
        q, r2 = ((1 - st) / (1 - sn)).sqrt(), (st - sn) / (1 - sn)
        x_t = q * x_n[i] + r2.sqrt() * z[i]
        torch.testing.assert_close(network.x[i].double(), x_t, rtol=1e-4, atol=1e-4)
        h = (x_t - st.sqrt() * network.answer[i].detach().double()) / (1 - st).sqrt()
        xn_hat = (x_t + (r2 / st) * ((1 - st).sqrt() * h - x_t)) / q
        expected.append(((x_t - q * xn_hat) / r2.sqrt() - z[i]).square().mean())
    total = (sum(expected) + z[0].square().mean()) / 40
    assert float(value.detach()) == pytest.approx(float(total), rel=1e-4)


def test_at_the_level_itself_nothing_is_learnt(digits_task, monkeypatch):
    """x_t is x_n, xn_hat is x_n whatever the network says, and the loss has no gradient."""
    loss, _ = parts_of_fit(NoiseData(level=80), digits_task, monkeypatch)
    network = Kept(torch.full((40, 1, 8, 8), 7.0))
    loss(network, draws()).backward()
    torch.testing.assert_close(network.x, noisy_data(digits_task, 80), rtol=1e-6, atol=1e-6)
    assert bool((network.answer.grad == 0).all())


def test_without_noise_in_the_data_it_is_the_ordinary_loss(digits_task, monkeypatch):
    clean = replace(digits_task, schedule=Schedule(beta_first=0.0))  # sigma_0 = 0
    loss, timesteps = parts_of_fit(NoiseData(level=0), clean, monkeypatch)
    network, drawn = Kept(torch.full((40, 1, 8, 8), 0.5)), replace(draws(), t=1 + torch.arange(40) * 25)
    value = loss(network, drawn)
    assert timesteps == 1000 and torch.equal(noisy_data(clean, 0), digits_task.images)
    torch.testing.assert_close(network.x, add_noise(clean.schedule, digits_task.images, drawn.t, drawn.noise))
    torch.testing.assert_close(value, (0.5 - drawn.noise).square().mean())


# The data ------------------------------------------------------------------------------------------------------------


def test_an_image_has_one_noise_for_good(digits_task, monkeypatch):
    noisy = noisy_data(digits_task, 200)
    assert torch.equal(noisy_data(digits_task.subset(torch.arange(10)), 200), noisy[:10])
    loss, _ = parts_of_fit(NoiseData(level=200), digits_task, monkeypatch)
    for purpose in ("one", "two"):
        network = Kept(torch.zeros(40, 1, 8, 8))
        loss(network, draws(purpose))
        torch.testing.assert_close(network.x, noisy, rtol=1e-6, atol=1e-6)
    noise = (noisy - ALPHA_BAR[200].sqrt() * digits_task.images) / (1 - ALPHA_BAR[200]).sqrt()
    assert float(noise.std()) == pytest.approx(1, abs=0.04) and abs(float(noise.mean())) < 0.06
    assert torch.linalg.matrix_rank(noise.flatten(1)) == 40  # of their own


def test_the_noise_does_not_change_with_the_level(digits_task):
    """So a sweep of levels compares levels."""
    low, high = (
        (noisy_data(digits_task, n) - ALPHA_BAR[n].sqrt() * digits_task.images) / (1 - ALPHA_BAR[n]).sqrt()
        for n in (100, 600)
    )
    torch.testing.assert_close(low, high, rtol=1e-4, atol=1e-4)


def test_labels_stay_with_their_images(digits_task, monkeypatch):
    spec = digits_task.network.model_copy(update={"conditions": 4})
    task = replace(digits_task, labels=torch.arange(40) % 4, condition="label", network=spec)
    network = Kept(torch.zeros(40, 1, 8, 8))
    loss, _ = parts_of_fit(NoiseData(level=10), task, monkeypatch)
    loss(network, replace(draws(), index=torch.arange(40).flip(0)))
    assert torch.equal(network.label, task.labels.flip(0))


@pytest.mark.parametrize("level", [999, 1000, 5000])
def test_a_level_that_leaves_nothing_to_learn_is_objected_to(level):
    place = AuditSetting((), "none", "nothing", 1000, 40)
    assert (
        str(level) in NoiseData(level=level).skip(place).reason and "998" in NoiseData(level=level).skip(place).reason
    )
    assert NoiseData(level=998).skip(place) is None and NoiseData(level=0).skip(place) is None


# Sampling ------------------------------------------------------------------------------------------------------------


def test_the_walk_ends_at_the_level():
    assert Schedule(steps=10).timesteps() == list(range(900, -1, -100)) == Schedule(steps=10, last=0).timesteps()
    assert Schedule(steps=10, last=250).timesteps() == [900, 800, 700, 600, 500, 400, 300, 250]
    assert Schedule(steps=10, last=300).timesteps() == [900, 800, 700, 600, 500, 400, 300]
    assert Schedule(steps=10, last=950).timesteps() == [950]
    whole = Schedule(steps=1000, last=7).timesteps()
    assert whole == list(range(999, 6, -1))


def test_the_last_move_is_the_mean_of_x0_given_x_n():
    schedule, asked = Schedule(steps=40, last=180), []

    def eps(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        asked.append((x, int(t[0])))
        return gaussian_eps(x, t)

    images = denoise(schedule, eps, STREAMS.of("start").normal(torch.arange(500), (1, 8, 8)).double())
    x_n, t = asked[-1]
    abar = ALPHA_BAR[180]
    gain = abar.sqrt() * SPREAD**2 / (abar * SPREAD**2 + 1 - abar)
    torch.testing.assert_close(images, (MEAN + gain * (x_n - abar.sqrt() * MEAN)).clamp(-1, 1))
    assert t == 180 and len(asked) == len(schedule.timesteps()) < 40
    assert float(x_n.std()) == pytest.approx(float((abar * SPREAD**2 + 1 - abar).sqrt()), rel=0.02)


@pytest.fixture(scope="module")
def gaussian_task(digits_task):
    """5,000 images of four independent Gaussian pixels: too many to learn by heart."""
    images = MEAN + SPREAD * STREAMS.of("pixels").normal(torch.arange(5000), (1, 2, 2))
    spec = digits_task.network.model_copy(update={"shape": (1, 2, 2)})
    return replace(digits_task, images=images, near_duplicates=torch.arange(5000), network=spec)


@pytest.fixture(scope="module")
def releases(gaussian_task):
    """Both objectives, trained alike."""

    def made(objective: str) -> Release:
        defense = NoiseData(steps=800, batch=128, lr=3e-3, level=150, objective=objective)
        return defense.release(defense.fit(gaussian_task), gaussian_task)

    return {objective: made(objective) for objective in ("double_tweedie", "plain")}


def test_it_learns_the_noise_of_clean_images_that_it_never_saw_and_plain_training_does_not(gaussian_task, releases):
    clean = MEAN + SPREAD * STREAMS.of("fresh").normal(torch.arange(2000), (1, 2, 2))
    for t in (200, 400):
        noise = STREAMS.of("fresh noise", t).normal(torch.arange(2000), (1, 2, 2))
        x = add_noise(gaussian_task.schedule, clean, full_timesteps(t, clean), noise)
        error = {
            name: float(
                (release.eps(x, full_timesteps(t, x)) - gaussian_eps(x, full_timesteps(t, x))).square().mean().sqrt()
            )
            for name, release in releases.items()
        }
        assert error["double_tweedie"] < 0.1 and error["double_tweedie"] < 0.5 * error["plain"]


def test_what_is_handed_out(digits_task):
    made = [NoiseData(steps=3, batch=8, level=150, objective=name) for name in ("double_tweedie", "plain")]
    ours, plain = (defense.release(defense.fit(digits_task), digits_task) for defense in made)
    assert ours.schedule == replace(digits_task.schedule, last=150) and plain.schedule == digits_task.schedule
    assert ours.eps_is_raw and ours.guarantee.to_json() == {}
    guided = replace(digits_task, base=ours)
    over = AMG(scale=1.0).release(AMG().fit(guided), guided)
    over.sample(4)
    assert list(over.facts()["gate_rate_by_t"]) == ["900", "800", "700", "600", "500", "400", "300", "200", "150"]
    varied = ours.vary(digits_task.images, 0.05, torch.zeros(40, 1, 8, 8))  # below the level: from the level
    assert varied.shape == (40, 1, 8, 8) and bool(varied.isfinite().all())
