"""Training on noisy data: one noisy copy of each image, and never the image itself.

Ambient-Tweedie (Daras et al. 2024, 2404.10177): x_n = sqrt(abar_n) x_0 + sigma_n z' is all that training sees, with one
z' for each image, never drawn again, and n = `level`. With sigma_t^2 = 1 - abar_t, h the x_0 that eps_theta implies:

    t ~ U{n .. T-1},  q = sqrt(abar_t / abar_n),  r^2 = sigma_t^2 - q^2 sigma_n^2,  x_t = q x_n + r z
    xn_hat = (x_t + (r^2 / sigma_t^2) (sqrt(abar_t) h - x_t)) / q,  which is E[x_n | x_t] for the true h
    loss   = mean over pixels of ||(x_t - q xn_hat) / r - z||^2 = ||(r / sigma_t) eps_theta(x_t, t) - z||^2

without further weight (`objective = "double_tweedie"`). The network learns the noise of the clean image, from level n
upwards, and samples walk down to n, where the last step is E[x_0 | x_n].

Choices of ours: of the two published forms the one in the noise (x0_pred off), which at sigma_n = 0 is the baseline's
loss and suits a network that answers eps; the other weighs timesteps by r^2 / q^2, which is 25,000 at the noisiest. The
right-hand form above is what is computed: it has no 0 / 0 at t = n, where nothing is learnt. No consistency loss (the
published configuration has none either), so below n the network is untrained: whoever asks it there gets whatever it
answers. `objective = "plain"` is the control: x_n is taken for clean data, and samples are as noisy as x_n is. x_n is
not clipped to [-1, 1].
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.api import Artefacts, AuditSetting, Release, Skip, Task, fit_param
from leakbench.data.image_view import ImageView
from leakbench.models import networks
from leakbench.models.denoiser_training import minimise
from leakbench.models.diffusion import Schedule, add_noise, alpha_sigma, full_timesteps
from leakbench.models.training.gradients import Batch

from .baseline import Baseline


def noisy_data(task: Task, level: int) -> Tensor:
    """x_n of the training images (N, C, H, W), on the task's device: one fixed noise an image, by its number."""
    x0 = task.images.to(task.device)[:]
    noise = task.streams.of("data noise", NoiseData.name).normal(
        torch.arange(len(x0), device=x0.device), tuple(x0.shape[1:])
    )
    return add_noise(task.schedule, x0, full_timesteps(level, x0), noise)


def further(schedule: Schedule, level: int, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, r and sigma_t of the move x_t = q x_n + r z for t (N,) >= n, shaped to multiply `like` (N, C, H, W)."""
    scale, sigma = alpha_sigma(schedule, t, like)
    scale_n, sigma_n = alpha_sigma(schedule, torch.full_like(t, level), like)
    q = scale / scale_n
    # r^2 = (sigma_t^2 - sigma_n^2) / (1 - sigma_n^2); rounding must not take it below zero at t = n
    return q, ((sigma.square() - sigma_n.square()).clamp_min(0) / scale_n.square()).sqrt(), sigma


class NoiseData(Baseline):
    """The baseline on data that is noisy once and for all."""

    name = "noise_data"
    summary = "trains on one noisy copy of each image (Ambient-Tweedie, without the consistency loss)"
    role = "defense"
    changes = "data"

    level: int = fit_param(100, ge=0)
    objective: Literal["double_tweedie", "plain"] = fit_param("double_tweedie")

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a level that leaves no timestep to learn from."""
        if self.level < setting.timesteps - 1:
            return None
        return Skip(f"level = {self.level} leaves no timestep above it: use 0 .. {setting.timesteps - 2}")

    def fit(self, task: Task) -> Artefacts:
        """Train on x_n."""
        noisy = noisy_data(task, self.level)
        if self.objective == "plain":
            return super().fit(replace(task, images=ImageView(noisy, device=noisy.device)))
        network = networks.build(task.network, task.streams.of("weights", self.name))
        labels = None if task.conditions is None else task.conditions.to(task.device)

        def loss(module: nn.Module, batch: Batch) -> Tensor:
            t = self.level + batch.t
            q, r, sigma = further(task.schedule, self.level, t, batch.noise)
            x_t = q * noisy[batch.index] + r * batch.noise
            answer = module(x_t, t, None if labels is None else labels[batch.index])
            return F.mse_loss(r / sigma * answer, batch.noise)

        return minimise(task, network, loss, self.recipe, self.name, timesteps=task.schedule.T - self.level)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out; the walk ends at the level, unless x_n was taken for clean data."""
        last = 0 if self.objective == "plain" else self.level
        return task.release(artefacts.networks["denoiser"], schedule=replace(task.schedule, last=last))
