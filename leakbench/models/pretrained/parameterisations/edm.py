"""EDM (Karras et al. 2022, 2206.00364, table 1): x_sigma = x_0 + sigma eps, which is x_t / sqrt(abar_t).

    D = c_skip x_sigma + c_out f(c_in x_sigma, c_noise),   eps = (x_sigma - D) / sigma,
    c_in = 1 / sqrt(sigma^2 + s^2),  c_skip = s^2 / (sigma^2 + s^2),  c_noise = log(sigma) / 4,  s = sigma_data,
    c_out = sigma s / sqrt(sigma^2 + s^2), negative where the network predicts v (diffusers' EDM schedulers).

With D put in, c_skip x_sigma and x_sigma cancel but for what stands in the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from leakbench.models.diffusion import Schedule, alpha_sigma
from leakbench.models.pretrained.schedulers import Target


@dataclass(frozen=True)
class EDM:
    """`target`: epsilon or v_prediction, the sign of c_out."""

    schedule: Schedule
    target: Target
    sigma_data: float

    def eps(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (N, C, H, W) at t (N,). `ask(input, time)` is the network: (N, C or more, H, W)."""
        scale, sigma = alpha_sigma(self.schedule, t, x)
        x, sigma = x / scale, sigma / scale
        total = sigma.square() + self.sigma_data**2
        answer = ask(x / total.sqrt(), 0.25 * sigma.flatten().log())[:, : x.shape[1]]
        sign = -1.0 if self.target == "v_prediction" else 1.0
        return sigma / total * x - sign * self.sigma_data / total.sqrt() * answer
