"""A network of a table of noise levels, as DDPM's: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

    epsilon       eps = f(x_t, t)
    v_prediction  eps = sqrt(abar_t) f + sqrt(1 - abar_t) x_t                  (Salimans and Ho 2022, 2202.00512)
    sample        eps = (x_t - sqrt(abar_t) f) / sqrt(1 - abar_t)

A timestep is the index of the model's own table. Improved-diffusion's networks are told it as a share of 1000, so that
4,000 levels lie between 0 and 1000 (`units`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from leakbench.models.diffusion import Schedule, alpha_sigma
from leakbench.models.pretrained.schedulers import Target


@dataclass(frozen=True)
class Discrete:
    """`target`: epsilon, v_prediction or sample. `units`: the time that the network is told at the end of its table,
    None for the number of its levels."""

    schedule: Schedule
    target: Target = "epsilon"
    units: int | None = None

    def eps(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (N, C, H, W) at t (N,). `ask(input, time)` is the network: (N, C or more, H, W)."""
        time = t if self.units is None else t.float() * (self.units / self.schedule.T)
        answer = ask(x, time)[:, : x.shape[1]]
        if self.target == "epsilon":
            return answer
        scale, sigma = alpha_sigma(self.schedule, t, x)
        if self.target == "v_prediction":
            return scale * answer + sigma * x
        return (x - scale * answer) / sigma
