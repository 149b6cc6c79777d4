"""The initial noise that a model's own sampling walk turns into an image, and what it turns that noise into."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from leakbench.api.views import DenoiserView
from leakbench.models.diffusion import Schedule, ddim_step


def found_seed(view: DenoiserView, images: Tensor, renoise: int) -> Tensor:
    """x_T (N, C, H, W) of images by DDIM inversion along the walk, each step refined by `renoise` fixed-point rounds.

    A step down is x_u = f(x_s, eps(x_s, s)); its inverse needs the answer at the x_s that is sought. The first guess
    takes the answer at x_u, each round that at the last guess (ReNoise, 2403.14602, without averaging and penalty).
    """
    x, u = images, -1
    for s in reversed(view.schedule.timesteps()):
        start = x
        x = climb(
            view.schedule, start, u, s, view.eps(start, s if u < 0 else u)
        )  # below a walk's end nothing was learnt
        for _ in range(renoise):
            x = climb(view.schedule, start, u, s, view.eps(x, s))
        u = s
    return x


def climb(schedule: Schedule, x: Tensor, u: int, s: int, eps: Tensor) -> Tensor:
    """The x_s from which ddim_move with this `eps` would arrive at x at timestep u < s; u = -1 is the clean image."""
    alpha_bar = schedule.alpha_bar
    ours, theirs = float(alpha_bar[u]) if u >= 0 else 1.0, float(alpha_bar[s])
    return (theirs / ours) ** 0.5 * (x - (1 - ours) ** 0.5 * eps) + (1 - theirs) ** 0.5 * eps


def walked_down(view: DenoiserView, x: Tensor) -> Tensor:
    """The image (N, C, H, W) that the sampler's walk makes of x_T."""
    walk = view.schedule.timesteps()
    for s, u in zip(walk, [*walk[1:], -1], strict=True):
        x = ddim_step(view.schedule, x, s, u, view.eps(x, s), view.schedule.clip)
    return x.clamp(-1.0, 1.0)


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB (N,) of images in [-1, 1], whose peak is 2; at most 120, where float32 ends."""
    error = (images - others).square().flatten(1).mean(dim=1)
    return 10.0 * torch.log10(4.0 / error.clamp(min=4e-12))


def log_density(x: Tensor) -> Tensor:
    """log N(x; 0, I) in nats a pixel, (N,): minus the NLL of a seed."""
    return -0.5 * (x.square().flatten(1).mean(dim=1) + math.log(2 * math.pi))
