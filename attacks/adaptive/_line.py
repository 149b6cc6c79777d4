"""The denoising error with CPSample's guidance taken away, from answers alone: a walk along a line out of its gate.

CPSample (2409.07025) answers eps_hat = eps_theta + g wherever its classifier is sure, with g = -s sqrt(1 -
alpha_bar_t) grad_x log(probability of the label that it does not favour), and eps_theta elsewhere. The error of the
answer is e = eps_hat - eps = (eps_theta - eps) + g. Three things follow for whoever knows this and sees answers only.

1. Where guidance is large, -e points along the gradient that it was made of: the steepest way to a state of which the
   classifier is no longer sure, where the gate is shut and the answer is the raw network's. The walk goes there:

       noise(l) = eps - l e / rms(e),   x(l) = sqrt(alpha_bar_t) x + sqrt(1 - alpha_bar_t) noise(l),
       e(l) = eps_hat(x(l), t) - noise(l)

   Where the network's idea of x_0 is the same along the line, e(l) without guidance is the same all along it, so an
   e(l) beyond the gate is the raw network's error at l = 0.
2. Beyond the states of which it is unsure, the classifier favours the other label, and guidance has turned round:
   <e(l), e(0)> < 0. So doubling l until the sign turns, and then halving, finds the gate however narrow it is.
3. Where the gate never shuts (alpha = 1/2), guidance jumps from g to about -g at a single l, and a mean of the two
   sides has none left. The mean is weighted so that its length is least, which costs the part of the error that lies
   along the guidance: one direction of as many as there are pixels.

The error is the shortest that was met on the way: guidance, which has nothing to do with the error, lengthens it. The
guidance is what the first answer has beyond it (the finite difference). Every image walks for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.api.views import DenoiserView

FIRST = 0.05  # of the lengths that are tried, in standard deviations of the noise
DOUBLINGS = 6
HALVINGS = 10
CALLS = 1 + DOUBLINGS + HALVINGS


@dataclass(frozen=True)
class Walk:
    """Result of a walk: the error of the first answer, the error without guidance (both N, C, H, W), the least length
    `near` (N,) up to which guidance had not turned round, and whether it ever did, bool (N,)."""

    naive: Tensor
    corrected: Tensor
    near: Tensor
    turned: Tensor

    @property
    def guidance(self) -> Tensor:
        """The guidance in the first answer (N, C, H, W)."""
        return self.naive - self.corrected


def walk(view: DenoiserView, t: int, draw: int) -> Walk:
    """Walk out of the gate from each image's state at timestep t with the shared noise of that draw; `CALLS` calls."""
    noise = view.noise(draw)
    naive = view.eps(view.noised(t, draw), t) - noise
    direction = -naive / _each(mean_square(naive).sqrt().clamp_min(torch.finfo(naive.dtype).tiny))

    def error(length: Tensor) -> Tensor:
        moved = noise + _each(length) * direction
        return view.eps(view.noise_to(t, moved), t) - moved

    near = torch.zeros(len(noise), device=noise.device)
    far, turned = near, torch.zeros_like(near, dtype=torch.bool)
    before = after = best = naive  # the errors at `near` and `far`, and the shortest so far
    for step in range(DOUBLINGS):
        length = torch.full_like(near, FIRST * 2**step)
        found = error(length)
        best = shorter(best, found)
        back = (found * naive).flatten(1).sum(dim=1) < 0
        far, after = torch.where(turned, far, length), torch.where(_each(turned), after, found)
        turned = turned | back
        near, before = torch.where(turned, near, length), torch.where(_each(turned), before, found)
    for _ in range(HALVINGS):
        length = (near + far) / 2
        found = error(length)
        best = shorter(best, found)
        back = (found * naive).flatten(1).sum(dim=1) < 0
        near, before = torch.where(back, near, length), torch.where(_each(back), before, found)
        far, after = torch.where(back, length, far), torch.where(_each(back), found, after)
    return Walk(naive, shorter(best, shortest_between(before, after)), near, turned)


def mean_square(x: Tensor) -> Tensor:
    """Mean over pixels of the squares of x (N, C, H, W): (N,)."""
    return x.square().flatten(1).mean(dim=1)


def shorter(a: Tensor, b: Tensor) -> Tensor:
    """The shorter of each pair of rows of a and b (N, C, H, W); of equal ones that of a."""
    return torch.where(_each(mean_square(b) < mean_square(a)), b, a)


def shortest_between(a: Tensor, b: Tensor) -> Tensor:
    """The shortest vector on the line segment from each row of a to that of b (N, C, H, W)."""
    step = (b - a).flatten(1)
    least = torch.finfo(step.dtype).tiny
    share = -(a.flatten(1) * step).sum(dim=1) / step.square().sum(dim=1).clamp_min(least)
    return a + _each(share.clamp(0, 1)) * (b - a)


def _each(values: Tensor) -> Tensor:
    """(N,) shaped to go with images."""
    return values.view(-1, 1, 1, 1)
