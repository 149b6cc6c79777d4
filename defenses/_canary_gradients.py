"""Gradients of canaries in differentially private training, by which an audit sees what a step lets through.

A Dirac canary (Nasr et al. 2023, 2302.07956; Steinke et al. 2023, 2305.08846) is an image whose gradient is C e_j, as
long as the clip allows, in the direction of one weight j that no other canary has. It is drawn by a coin like any
image. Of step t, x_t = <noisy sum of gradients, e_j> / C is N(0, sigma^2) without it, and (1 - q) N(0, sigma^2) + q
N(1, sigma^2) with it, so that

    sum_t log(1 - q + q exp((2 x_t - 1) / (2 sigma^2)))

is the best score for whether it was among the images (Neyman and Pearson), for an adversary who knows rate and noise,
as that of differential privacy does. Without noise it is sum_t x_t.

Where images come in groups, a canary is a group (a person), and all its images have that gradient: with n of them, each
drawn by itself, J = Bin(n, q) of them add up to N(J, sigma^2), and a step's term is

    log sum_j P[Bin(n, q) = j] exp((2 j x_t - j^2) / (2 sigma^2));

of a group that is drawn whole, the mean gradient is C e_j, and all is as for one image.

Choices of ours: this score, where the papers sum x_t, which tells less at few steps; weight j of canary k of M is
number floor((k + 1/2) D / M) of all D, in the order of the parameters, so that they lie evenly over the layers; what
the images' own gradients add there is left in, as an adversary would find it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One step's draws: B images by number, and of each K timesteps and noises side by side, (B * K, ...).

    group: of groups that are drawn whole, each image's (B,), those of a group side by side; None elsewhere.
    """

    number: int
    index: Tensor
    t: Tensor
    noise: Tensor
    group: Tensor | None = None


@dataclass(frozen=True)
class CanaryGradients:
    """The canaries of a training of N images with sampling rate `rate`, clip and noise multiplier (0: none).

    number: int64 (N,), each image's canary or -1; count: M, of all. sizes: int64 (M,), the number of images of each
    canary. whole: these are drawn by one coin.
    """

    number: Tensor
    count: int
    rate: float
    clip: float
    noise: float
    sizes: Tensor
    whole: bool = False

    def leave_out(self, step: Step, draws: int) -> Step:
        """The step without the images that are canaries."""
        real = self.number[step.index] < 0
        rows = real.repeat_interleave(draws)
        group = None if step.group is None else step.group[real]
        return Step(step.number, step.index[real], step.t[rows], step.noise[rows], group)

    def add(self, gradients: Sequence[Tensor], index: Tensor) -> None:
        """Add the gradients of the canaries among the images of a step."""
        times = torch.bincount(self.number[index].clamp(min=-1) + 1, minlength=self.count + 1)[1:]
        if self.whole:
            times = times.clamp(max=1)
        for gradient, (canaries, at) in zip(gradients, self._places(gradients), strict=True):
            gradient.view(-1)[at] += self.clip * times[canaries]

    def watch(self, gradients: Sequence[Tensor]) -> None:
        """Add to the scores what a step's noisy sum tells."""
        found = [g.flatten()[at] for g, (_, at) in zip(gradients, self._places(gradients), strict=True)]
        self.scores.add_(self._evidence(torch.cat(found).double() / self.clip))

    def _evidence(self, x: Tensor) -> Tensor:
        """The logarithm of a step's likelihood ratio, or x without noise."""
        if not self.noise:
            return x
        if self.whole or int(self.sizes.max()) == 1:
            drawn = (2 * x - 1) / (2 * self.noise**2)
            return torch.logaddexp(torch.full_like(x, self.rate).neg().log1p(), drawn + math.log(self.rate))
        times = torch.arange(self.log_shares.shape[1], device=x.device, dtype=x.dtype)
        return (self.log_shares + (2 * times * x[:, None] - times**2) / (2 * self.noise**2)).logsumexp(dim=1)

    @cached_property
    def log_shares(self) -> Tensor:
        """Logarithm of the probability that j images of each canary are drawn, (M, 1 + the most images)."""
        from scipy.stats import binom

        sizes = self.sizes.cpu().numpy()
        found = binom.logpmf(np.arange(sizes.max() + 1), sizes[:, None], self.rate)
        return torch.from_numpy(found).to(self.number.device)

    @cached_property
    def scores(self) -> Tensor:
        """Sum over the steps so far, float64 (M,)."""
        return torch.zeros(self.count, dtype=torch.float64, device=self.number.device)

    def _places(self, gradients: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Of each parameter, the canaries that have a weight in it, and where."""
        sizes = [one.numel() for one in gradients]
        total = sum(sizes)
        every = torch.arange(self.count, device=self.number.device)
        place = (2 * every + 1) * total // (2 * self.count)
        found, start = [], 0
        for size in sizes:
            here = (place >= start) & (place < start + size)
            found.append((every[here], place[here] - start))
            start += size
        return found
