"""Consistency models (Song et al. 2023, 2303.01469, appendix C): the network goes from any noise to x_0 in one step.

    D = c_skip x_sigma + c_out f(x_sigma / sqrt(sigma^2 + s^2), 250 log sigma),   eps = (x_sigma - D) / sigma,
    c_skip = s^2 / ((sigma - sigma_min)^2 + s^2),  c_out = (sigma - sigma_min) s / sqrt(sigma^2 + s^2),  s = sigma_data

x_sigma = x_0 + sigma eps, which is x_t / sqrt(abar_t). Such a model predicts no noise: this eps is the one that its x_0
implies (a choice of ours), and near sigma_min, where D is x_sigma itself, it tends to what the boundary condition says
rather than to what was learnt. Its training compares neighbouring levels; that the error of this eps is what it was
trained on cannot be said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from leakbench.models.diffusion import Schedule, alpha_sigma


@dataclass(frozen=True)
class Consistency:
    """`sigma_min`, `sigma_data`: of its scheduler (diffusers' CMStochasticIterativeScheduler)."""

    schedule: Schedule
    sigma_min: float
    sigma_data: float

    def eps(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (N, C, H, W) at t (N,). `ask(input, time)` is the network: (N, C or more, H, W)."""
        scale, sigma = alpha_sigma(self.schedule, t, x)
        x, sigma = x / scale, sigma / scale
        total, above = sigma.square() + self.sigma_data**2, sigma - self.sigma_min
        skipped = above.square() + self.sigma_data**2
        answer = ask(x / total.sqrt(), 250 * sigma.flatten().log())[:, : x.shape[1]]
        # x - D, in which x - c_skip x is above^2 / skipped of x
        return above / sigma * (above / skipped * x - self.sigma_data / total.sqrt() * answer)
