"""The schedule and the DDIM walk are diffusers'; what the mathematics says is exact, is exact."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from leakbench.models.diffusion import Schedule, add_noise, ddim_step, denoise, full_timesteps, predict_x0, vary
from leakbench.runtime.device import Rng

SCHEDULE = Schedule()
NOISE = Rng("test", 0).of("noise").normal(torch.arange(8), (3, 8, 8))
IMAGES = torch.tanh(Rng("test", 0).of("images").normal(torch.arange(8), (3, 8, 8)))


def toy(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
    """Nonlinear, depends on t, and keeps x bounded: the best denoiser of N(0, 1/4), and a ripple."""
    alpha_bar = torch.from_numpy(SCHEDULE.alpha_bar)[t].view(-1, 1, 1, 1).to(x.dtype)
    ripple = 0.2 * torch.sin(2 * x + t.view(-1, 1, 1, 1) / 150)
    return (1 - alpha_bar).sqrt() * (x / (1 - 0.75 * alpha_bar) + ripple)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DDPMScheduler])
def test_alpha_bar_is_diffusers(scheduler):
    theirs = scheduler(num_train_timesteps=1000, beta_schedule="linear").alphas_cumprod
    np.testing.assert_allclose(SCHEDULE.alpha_bar, theirs.double().numpy(), atol=1e-6)


def test_alpha_bar_by_a_plain_loop():
    product = 1.0
    for t, alpha_bar in enumerate(SCHEDULE.alpha_bar):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        assert alpha_bar == pytest.approx(product, rel=1e-12)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_the_walk_and_its_result_are_those_of_diffusers(steps, clip):
    theirs = DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="linear",
        clip_sample=clip,
        set_alpha_to_one=True,
        timestep_spacing="leading",
    )
    theirs.set_timesteps(steps)
    ours = Schedule(steps=steps, clip=clip)
    assert ours.timesteps() == theirs.timesteps.tolist()
    x = NOISE
    for t in theirs.timesteps:
        x = theirs.step(toy(x, full_timesteps(int(t), x)), t, x, eta=0.0).prev_sample
    assert (denoise(ours, toy, NOISE) - x.clamp(-1, 1)).abs().max() < 1e-5
    assert 0.2 < x.std() < 1.0  # the walk was no trivial one
    assert clip == bool((denoise(ours, toy, NOISE) - denoise(Schedule(steps=steps), toy, NOISE)).abs().max() > 1e-3)


def test_every_step_of_the_walk_is_that_of_diffusers():
    theirs = DDIMScheduler(beta_schedule="linear", clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(50)
    for s, u in ((980, 960), (500, 480), (20, 0), (0, -1)):
        eps = toy(NOISE, full_timesteps(s, NOISE))
        expected = theirs.step(eps, s, NOISE, eta=0.0).prev_sample
        torch.testing.assert_close(ddim_step(SCHEDULE, NOISE, s, u, eps), expected, atol=1e-5, rtol=1e-5)


def test_forward_noise_is_diffusers_add_noise():
    t = torch.tensor([0, 1, 10, 100, 300, 500, 900, 999])
    expected = DDPMScheduler(beta_schedule="linear").add_noise(IMAGES, NOISE, t)
    torch.testing.assert_close(add_noise(SCHEDULE, IMAGES, t, NOISE), expected, atol=1e-5, rtol=0)


def test_the_true_noise_gives_the_image_back():
    x0, noise = IMAGES.double(), NOISE.double()
    t = torch.tensor([0, 1, 10, 100, 300, 500, 900, 999])
    x_t = add_noise(SCHEDULE, x0, t, noise)
    torch.testing.assert_close(predict_x0(SCHEDULE, x_t, t, noise), x0, atol=1e-9, rtol=0)


def test_a_step_with_the_true_noise_stays_on_the_forward_path():
    x0, noise = IMAGES.double(), NOISE.double()
    for s, u in ((500, 20), (20, 500), (999, 0), (3, 999)):
        moved = ddim_step(SCHEDULE, add_noise(SCHEDULE, x0, full_timesteps(s, x0), noise), s, u, noise)
        torch.testing.assert_close(moved, add_noise(SCHEDULE, x0, full_timesteps(u, x0), noise), atol=1e-9, rtol=0)


def test_inversion_then_denoising_returns_the_image_when_eps_does_not_depend_on_x():
    x = IMAGES.double()
    eps = {t: NOISE.double() * np.cos(t / 300) for t in range(0, 1000, 10)}
    path = list(range(0, 600, 10))
    for s, u in pairwise(path):
        x = ddim_step(SCHEDULE, x, s, u, eps[s])
    for s, u in pairwise(path[::-1]):
        x = ddim_step(SCHEDULE, x, s, u, eps[u])
    torch.testing.assert_close(x, IMAGES.double(), atol=1e-9, rtol=0)


def test_samples_are_in_range():
    assert denoise(SCHEDULE, lambda x, t, label: -3 * x, NOISE).abs().max() == 1.0


def test_denoise_hands_every_row_its_timestep_and_label():
    seen = []

    def eps(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        assert t.shape == (len(x),) and t.dtype == torch.int64 and bool((t == t[0]).all())
        seen.append((int(t[0]), label))
        return x

    label = torch.arange(8)
    denoise(Schedule(steps=5), eps, NOISE, label, start=400)
    assert [t for t, _ in seen] == [400, 200, 0] and all(given is label for _, given in seen)


def test_variation_by_a_perfect_denoiser_returns_the_image():
    """With the true noise as the answer every strength comes back to x0."""
    for strength in (0.0, 0.3, 0.7, 1.0):
        varied = vary(SCHEDULE, lambda x, t, label: NOISE.double(), IMAGES.double(), strength, NOISE.double())
        torch.testing.assert_close(varied, IMAGES.double(), atol=1e-8, rtol=0)


def test_variation_at_almost_no_strength_changes_almost_nothing():
    sigma = (1 - SCHEDULE.alpha_bar[0]) ** 0.5
    varied = vary(SCHEDULE, lambda x, t, label: torch.zeros_like(x), IMAGES, 1e-6, NOISE)
    torch.testing.assert_close(varied, (IMAGES + sigma / (1 - sigma**2) ** 0.5 * NOISE).clamp(-1, 1), atol=1e-6, rtol=0)


def test_variation_starts_at_the_nearest_timestep_of_the_walk():
    starts = []

    def eps(x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        starts.append(int(t[0]))
        return x

    for strength, start in ((0.0, 0), (0.29, 200), (0.31, 400), (0.6, 600), (1.0, 800)):
        starts.clear()
        vary(Schedule(steps=5), eps, IMAGES, strength, NOISE)
        assert starts[0] == start
