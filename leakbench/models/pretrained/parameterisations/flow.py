"""Flow matching (Lipman et al. 2022, 2210.02747; rectified flow, Liu et al. 2022, 2209.03003):

    x_s = (1 - s) x_0 + s eps,   u = eps - x_0,   so   eps = x_s + (1 - s) u

x_t of the attacks is x_s made longer: x_s = x_t / (sqrt(abar_t) + sqrt(1 - abar_t)), and s is the share of the noise,
sqrt(1 - abar_t) / (sqrt(abar_t) + sqrt(1 - abar_t)). One of our DDIM moves is one of Euler's along u.

A network knows every s; the shift of its scheduler, fixed or by image size, says only where a sampler stops on the way.
Choice of ours: samples stop at DDPM's levels, which lie as those of a shift of about 3 (s = 0.78 half way).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from leakbench.models.diffusion import Schedule, alpha_sigma


@dataclass(frozen=True)
class Flow:
    """`units`: the time that the network is told at s = 1, its scheduler's num_train_timesteps."""

    schedule: Schedule
    units: int = 1000

    def eps(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (N, C, H, W) at t (N,). `ask(input, time)` is the network: (N, C or more, H, W)."""
        scale, sigma = alpha_sigma(self.schedule, t, x)
        x, s = x / (scale + sigma), sigma / (scale + sigma)
        return x + (1 - s) * ask(x, self.units * s.flatten())[:, : x.shape[1]]
