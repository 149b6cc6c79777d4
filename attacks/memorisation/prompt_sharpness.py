"""Sharpness of the log-density along what a prompt adds: a memorised prompt makes a narrow peak, seen before any step.

2412.04140 (ICML 2025). With s = -eps_theta / sigma_t, s^D the
difference of the scores with the caption and without, and H^D that of their Jacobians, at pure noise x and the first
timestep of the walk:

    S(c) = mean over draws of || H^D s^D ||_2

Of the images nothing is read, as in prompt_noise.py.

Choices of ours: H^D s^D is a forward difference, || s^D || (s^D(x + h u) - s^D(x)) / h along u = s^D / || s^D ||, with
h a hundredth of the length of x, so that answers are all that it needs (the paper differentiates); four draws, 16 calls
a prompt. Without an answer for no condition others stand for it (membership/_conditions.py).
"""

import torch
from torch import Tensor

from leakbench.api import Access, MemorisationAttack, release_param
from leakbench.api.views import DenoiserView

from ..membership._conditions import eps_without

_STEP = 0.01


class PromptSharpness(MemorisationAttack):
    """Curvature of what the caption adds to the log-density; 4 * draws network calls a prompt, 16 by default."""

    name = "prompt_sharpness"
    summary = "curvature of what the caption adds to the log-density; reads no image"
    access = Access.DENOISER

    draws: int = release_param(4, ge=1)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean norm over draws, (N,)."""
        return torch.stack([self._norm(view, images, draw) for draw in range(self.draws)]).mean(dim=0)

    def _norm(self, view: DenoiserView, images: Tensor, draw: int) -> Tensor:
        t = view.schedule.timesteps()[0]
        sigma = float(1 - view.schedule.alpha_bar[t]) ** 0.5
        x = view.stream("prompt sharpness").normal(view.ids, tuple(images.shape[1:]), draw)
        here = _added(view, x, t)
        h, length = _STEP * _lengths(x), _lengths(here)
        there = _added(view, x - h * here / length.clamp_min(torch.finfo(here.dtype).tiny), t)  # s^D is -here / sigma
        return _lengths(length * (there - here) / h).flatten() / sigma**2


def _added(view: DenoiserView, x: Tensor, t: int) -> Tensor:
    return view.eps(x, t) - eps_without(view, x, t)


def _lengths(x: Tensor) -> Tensor:
    """Norms (N, 1, 1, 1)."""
    return x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
