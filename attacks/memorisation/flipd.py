"""FLIPD: the local intrinsic dimension of what a prompt returns; a memorised image is a point, whose dimension is low.

Kamkari et al. 2024 (2406.03537), as a detector of memorisation in 2411.00113 (ICLR 2025). At a sample x of the prompt
and one timestep, with psi = sqrt(abar_t), sigma = sqrt(1 - abar_t), and the network's answer under a condition,

    FLIPD = D - sigma tr(d eps_theta / dx) + || eps_theta ||^2,   both at psi x, without noise

which for a Gaussian on a k-dimensional subspace tends to k as sigma goes to 0. By default (`of = "difference"`)

    S(c) = FLIPD(x | none) - FLIPD(x | c):   the dimensions that the prompt takes away

and -FLIPD(x | c) by `of = "prompt"`. Published is the latter, by which simple images pass for memorised ones, too; at
the same x they have few dimensions with the prompt and without.

Choices of ours: the difference. x is drawn by a DDIM walk of `steps` steps with guidance, so that no image is read
(published: the sampler's own walk, at 7.5). t = 200 of 1,000 is the fortieth of fifty steps, as in the published code.
The trace is Hutchinson's, by `probes` vectors of signs (published: one Gaussian), the same for both conditions, and
forward differences of a hundredth of the length of psi x, so that answers are all that it needs. Without an answer for
no condition others stand for it (membership/_conditions.py).
"""

import dataclasses
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from leakbench.api import Access, MemorisationAttack, Needs, release_param
from leakbench.api.views import DenoiserView
from leakbench.models import diffusion

from ..membership._conditions import absent_conditions, eps_without

_STEP = 0.01


class FLIPD(MemorisationAttack):
    """Dimensions that a prompt takes away from its samples; draws (2 steps + 2 (1 + probes)) network calls a prompt,
    104 by default."""

    name = "flipd"
    summary = "local intrinsic dimension of what a prompt returns; reads no image (FLIPD)"
    access = Access.DENOISER

    of: Literal["difference", "prompt"] = release_param("difference")
    t: int = release_param(200, ge=0)
    steps: int = release_param(10, ge=1)
    guidance: float = release_param(2.0, ge=0)
    draws: int = release_param(4, ge=1)
    probes: int = release_param(2, ge=1)

    @property
    def needs(self) -> Needs:
        """Captions or labels, the timestep, and a schedule that is longer than the walk."""
        return Needs(condition=True, latest=self.t, walked=self.steps)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean over draws, (N,)."""
        return torch.stack([self._score(view, images, draw) for draw in range(self.draws)]).mean(dim=0)

    def _score(self, view: DenoiserView, images: Tensor, draw: int) -> Tensor:
        x = self._sample(view, images, draw)
        own = self._dimension(view, x, draw, view.labels)
        if self.of == "prompt":
            return -own
        without = [self._dimension(view, x, draw, other) for other in absent_conditions(view)]
        return torch.stack(without).mean(dim=0) - own if without else torch.zeros_like(own)

    def _sample(self, view: DenoiserView, images: Tensor, draw: int) -> Tensor:
        """x (N, C, H, W) that the prompts return."""
        x = view.stream("flipd").normal(view.ids, tuple(images.shape[1:]), draw)
        schedule = dataclasses.replace(view.schedule, steps=self.steps)
        for t, following in pairwise([*schedule.timesteps(), -1]):
            without = eps_without(view, x, t)
            eps = without + self.guidance * (view.eps(x, t) - without)
            x = diffusion.ddim_step(schedule, x, t, following, eps)
        return diffusion.clamp_output(schedule, x)

    def _dimension(self, view: DenoiserView, x: Tensor, draw: int, told: Tensor | None) -> Tensor:
        """FLIPD (N,) at x under labels (N,)."""
        level = float(view.schedule.alpha_bar[self.t])
        at, sigma, shape = level**0.5 * x, (1 - level) ** 0.5, tuple(x.shape[1:])
        here, size = view.eps(at, self.t, told), x[0].numel()
        h = _STEP * at.flatten(1).norm(dim=1).clamp_min(1e-6).view(-1, 1, 1, 1) / size**0.5
        trace = torch.zeros(len(x), device=x.device)
        for probe in range(self.probes):
            signs = view.stream("flipd", "probes", probe).normal(view.ids, shape, draw).sign()
            trace += (signs * (view.eps(at + h * signs, self.t, told) - here) / h).flatten(1).sum(dim=1)
        return size - sigma * trace / self.probes + here.flatten(1).square().sum(dim=1)
