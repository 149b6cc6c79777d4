"""Forward process, DDIM steps in both directions, and image variation.

Notation of Song et al. (DDIM, 2010.02502): alpha_bar_t is the cumulative product of 1 - beta; x_t = sqrt(alpha_bar_t)
x_0 + sqrt(1 - alpha_bar_t) eps. Every function takes eps as a callable eps(x, t, label), so that a protected denoiser
and a raw one walk the same path.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from leakbench.models.schedule import Schedule

Eps = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@lru_cache
def _alpha_bar_on(schedule: Schedule, device: torch.device) -> Tensor:
    """alpha_bar as a float64 tensor, copied to a device once: a copy a step would make the device wait."""
    return torch.from_numpy(schedule.alpha_bar).to(device)


def alpha_sigma(schedule: Schedule, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t) for t (N,), shaped to multiply `like` (N, C, H, W)."""
    alpha_bar = _alpha_bar_on(schedule, like.device)[t].view(-1, *[1] * (like.dim() - 1))
    return alpha_bar.sqrt().to(like.dtype), (1.0 - alpha_bar).sqrt().to(like.dtype)


def add_noise(schedule: Schedule, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """q(x_t | x_0): x0 and noise (N, C, H, W), t (N,)."""
    scale, sigma = alpha_sigma(schedule, t, x0)
    return scale * x0 + sigma * noise


def predict_x0(schedule: Schedule, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """x_0 that x_t and a noise prediction imply."""
    scale, sigma = alpha_sigma(schedule, t, x)
    return (x - sigma * eps) / scale


def ddim_step(schedule: Schedule, x: Tensor, s: int, u: int, eps: Tensor, clip: bool = False) -> Tensor:
    """Move x from timestep s to u with a noise prediction made at s; u > s inverts; u = -1 is the walk's end: the clean
    image, unless the schedule's `final` says otherwise. `clip`: x_0 is first brought into [-1, 1]."""
    alpha_bar = schedule.alpha_bar
    ours, theirs = float(alpha_bar[s]), float(alpha_bar[u]) if u >= 0 else schedule.final
    x0 = (x - (1 - ours) ** 0.5 * eps) / ours**0.5
    x0 = x0.clamp(-1.0, 1.0) if clip else x0
    return theirs**0.5 * x0 + (1 - theirs) ** 0.5 * eps


def full_timesteps(t: int, x: Tensor) -> Tensor:
    """The timestep t for every row of x, int64 (N,)."""
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)


def denoise(schedule: Schedule, eps: Eps, x: Tensor, label: Tensor | None = None, start: int | None = None) -> Tensor:
    """Deterministic DDIM (eta = 0) from x at the walk's first timestep at or below `start` down to the clean image."""
    walk = [t for t in schedule.timesteps() if start is None or t <= start]
    for s, u in zip(walk, [*walk[1:], -1], strict=True):
        x = ddim_step(schedule, x, s, u, eps(x, full_timesteps(s, x), label), schedule.clip)
    return clamp_output(schedule, x)


def clamp_output(schedule: Schedule, x: Tensor) -> Tensor:
    """Clamp the end of a walk: images to [-1, 1]; latents stay as they are."""
    return x.clamp(-1.0, 1.0) if schedule.bounded else x


def nearest_timestep(schedule: Schedule, strength: float) -> int:
    """The timestep of the walk nearest to strength * T (0 to 1): where a variation begins."""
    return min(schedule.timesteps(), key=lambda t: abs(t - strength * schedule.T))


def vary(
    schedule: Schedule, eps: Eps, x0: Tensor, strength: float, noise: Tensor, label: Tensor | None = None
) -> Tensor:
    """Image variation: noise x0 up to the timestep nearest strength * T (0 to 1) on the walk, then denoise."""
    start = nearest_timestep(schedule, strength)
    return denoise(schedule, eps, add_noise(schedule, x0, full_timesteps(start, x0), noise), label, start)


def inpaint(
    schedule: Schedule, eps: Eps, x0: Tensor, mask: Tensor, start: Tensor, noise: Tensor, label: Tensor | None = None
) -> Tensor:
    """Complete x0 (N, C, H, W) where `mask` (H, W), bool, is true: RePaint (Lugmayr et al. 2022, 2201.09865, eq. 8)
    along the deterministic walk, without its resampling.

    `start` is x_T of the unknown pixels and `noise` (both N, C, H, W) that of the known ones. Choice of ours: the known
    pixels' noise is drawn once for the whole walk.
    """
    walk, x = schedule.timesteps(), start
    for s, u in zip(walk, [*walk[1:], -1], strict=True):
        x = torch.where(mask, x, add_noise(schedule, x0, full_timesteps(s, x0), noise))
        x = ddim_step(schedule, x, s, u, eps(x, full_timesteps(s, x), label), schedule.clip)
    return torch.where(mask, clamp_output(schedule, x), x0)
