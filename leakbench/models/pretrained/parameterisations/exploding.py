"""Variance exploding (score SDE, Song et al. 2021, 2011.13456): x_sigma = y + sigma eps, with y an image in [0, 1].

    eps = -sigma s(x_sigma, sigma),   s the score that the network predicts

Our images lie in [-1, 1], so y = (x_0 + 1) / 2, x_sigma = (x_t / sqrt(abar_t) + 1) / 2, and sigma is half of
sqrt((1 - abar_t) / abar_t).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from leakbench.models.diffusion import Schedule, alpha_sigma


@dataclass(frozen=True)
class Exploding:
    """A score network of the noise level sigma itself (diffusers' ScoreSdeVeScheduler)."""

    schedule: Schedule

    def eps(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (N, C, H, W) at t (N,). `ask(input, time)` is the network: (N, C or more, H, W)."""
        scale, sigma = alpha_sigma(self.schedule, t, x)
        sigma = 0.5 * sigma / scale
        return -sigma * ask(0.5 * (x / scale + 1), sigma.flatten())[:, : x.shape[1]]
