"""From what a network predicts, under any scheduler, to the noise in x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.

    epsilon       eps = f(x_t, t)
    v_prediction  eps = sqrt(abar_t) f + sqrt(1 - abar_t) x_t                  (Salimans and Ho 2022, 2202.00512)
    sample        eps = (x_t - sqrt(abar_t) f) / sqrt(1 - abar_t)

EDM (Karras et al. 2022, 2206.00364, table 1): x_sigma = x_0 + sigma eps = x_t / sqrt(abar_t), abar = 1 / (1 + sigma^2),
    D = c_skip x_sigma + c_out f(c_in x_sigma, c_noise),   eps = (x_sigma - D) / sigma,
    c_in = 1 / sqrt(sigma^2 + s^2),  c_skip = s^2 / (sigma^2 + s^2),  c_noise = log(sigma) / 4,  s = sigma_data,
    c_out = sigma s / sqrt(sigma^2 + s^2), negative where the network predicts v (diffusers' EDM schedulers).

Choices of ours. Every scheduler of diffusers that noises as DDPM does (Euler's and Heun's sigma is sqrt((1 - abar) /
abar), its scaled input is x_t) is read for its table of alpha_bar alone: samples come from our deterministic DDIM
walk, at the timesteps that `timestep_spacing` and `steps_offset` name; whether x_0 is clipped on the way is the
suite's word ([sampler] clip), not the scheduler's. A step goes to the next timestep of the walk; diffusers' DDIM goes
T // steps down, which is the same for "leading", for "trailing" where steps divide T, and not for "linspace". An EDM
network knows any sigma: its timesteps are those of DDPM's linear schedule whose noise lies below sigma_max (about
930), so that t means the same noise as in the attacks' papers, and a sigma below sigma_min counts as sigma_min. Where
a network answers more channels than it is given, the rest is a learned variance, and cut.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.models.diffusion import Schedule, alpha_sigma
from leakbench.models.pretrained.schedulers import (
    EDM,
    Target,
    check_discrete,
    check_scheduler,
    check_target,
    edm_schedule,
)
from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class Prediction:
    """Target that a network predicts, and its schedule; `sigma_data`: with EDM's preconditioning around it."""

    schedule: Schedule
    target: Target = "epsilon"
    sigma_data: float | None = None

    def eps(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
        """The noise in x (N, C, H, W) at t (N,). `ask(input, time)` is the network: (N, C or more, H, W)."""
        scale, sigma = alpha_sigma(self.schedule, t, x)
        if self.sigma_data is not None:
            return self._preconditioned(ask, x / scale, sigma / scale)
        answer = ask(x, t)[:, : x.shape[1]]
        if self.target == "epsilon":
            return answer
        if self.target == "v_prediction":
            return scale * answer + sigma * x
        return (x - scale * answer) / sigma

    def _preconditioned(self, ask: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor) -> Tensor:
        """EDM's: x is x_sigma; sigma (N, 1, 1, 1). With D put in, c_skip x and x cancel but for the terms below."""
        assert self.sigma_data is not None
        total = sigma.square() + self.sigma_data**2
        answer = ask(x / total.sqrt(), 0.25 * sigma.flatten().log())[:, : x.shape[1]]
        sign = -1.0 if self.target == "v_prediction" else 1.0
        return sigma / total * x - sign * self.sigma_data / total.sqrt() * answer


def read_prediction(config: Mapping[str, Any] | None, override: str | None, where: str) -> Prediction:
    """Read a scheduler's config; `override` is what the user says that the network predicts.

    Without a config (a bare network): DDPM's linear schedule, and the user has to say. Raises UsageError.
    """
    check_scheduler(config, override, where)
    if config is None:
        return Prediction(Schedule(), override)  # type: ignore[arg-type]
    name = str(config["_class_name"])
    scheduler = _built(name, config, where)
    target: Any = override or scheduler.config.prediction_type
    check_target(name, target, where)
    if name in EDM:
        said = scheduler.config
        return Prediction(edm_schedule(said.sigma_min, said.sigma_max), target, float(said.sigma_data))
    return Prediction(_table_schedule(scheduler, where), target)


def _built(name: str, config: Mapping[str, Any], where: str) -> Any:
    import diffusers

    said = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own use of numpy
            return getattr(diffusers, name).from_config(said)
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise UsageError(f"{where}: scheduler {name}: {str(error).splitlines()[0]}") from None


def _table_schedule(scheduler: Any, where: str) -> Schedule:
    """The table of alpha_bar, with the walk of the scheduler's config."""
    config = scheduler.config
    check_discrete(type(scheduler).__name__, dict(config), where)
    found = _of_table(scheduler.alphas_cumprod.double().numpy())
    final = 1.0 if getattr(config, "set_alpha_to_one", True) else float(found.alpha_bar[0])
    spacing: Any = getattr(config, "timestep_spacing", "leading")
    offset = int(getattr(config, "steps_offset", 0))
    return replace(found, spacing=spacing, offset=offset, final=final)


def _of_table(alpha_bar: np.ndarray) -> Schedule:
    """A linear schedule in float64, as our own; any other as it is (diffusers' tables are float32)."""
    linear = Schedule(T=len(alpha_bar))
    if np.allclose(linear.alpha_bar, alpha_bar, rtol=1e-4, atol=1e-7):
        return linear
    return Schedule.given(alpha_bar)


def nowhere(t: Tensor) -> Tensor:
    """The label that stands for no condition, for every row: -1, int64 (N,)."""
    return torch.full_like(t, -1, dtype=torch.int64)
