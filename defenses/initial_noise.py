"""Adjusted initial noise: a walk starts outside the basin of a memorised image, and opens without the condition.

"Adjusting Initial Noise to Mitigate Memorization in Text-to-Image Diffusion Models" (2510.08625, NeurIPS 2025), in its
batch-wise form. The pull of a condition y is e(x) = eps(x, t_1, y) - eps(x, t_1), at the walk's first timestep; it is
large, and grows along itself, where noise x is going to end in an image that y has memorised. Twice,

    d = rho sqrt(D) e(x) / ||e(x)||,    x <- x - gamma (e(x + d) - e(x)),    D = C H W

which is a step down the norm of e, by a finite difference in place of a derivative; after which the walk takes the
first of its steps without the condition. Published for Stable Diffusion: rho sqrt(D) = 50 where D = 4 x 64 x 64,
gamma 0.7, and 5 of 50 steps. It stands beside AMG, and reads no training image.

Choices of ours. (1) rho is a share of the length that noise has, so that it means the same on images of every size.
(2) The steps without the condition are a share of the walk. (3) eps(x, t) is the answer to the empty condition of a
base with guidance; our label-conditional networks have no empty label, and it is the mean over all labels, as in AMG.
(4) The published per-sample form, which optimises x until the norm of e is below a number that belongs to one model,
is left out. (5) Only samples change: whoever asks for eps is answered by the base, and variations and completions of
given images start from these, as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.api import Artefacts, AuditSetting, Defense, Release, Skip, Task, release_param
from leakbench.models.diffusion import denoise, full_timesteps
from leakbench.models.pretrained.prediction import nowhere
from leakbench.models.pretrained.release import PretrainedRelease


@dataclass(frozen=True)
class AdjustedRelease(Release):
    """Samples walk from adjusted noise, their first `opening` steps without the condition."""

    rho: float = 0.0
    gamma: float = 0.0
    rounds: int = 0
    opening: int = 0

    is_iterative = False

    def unconditional(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The raw network's answer (N, C, H, W) without the condition."""
        if _has_empty_condition(self):
            return self.raw_eps(x, t, nowhere(t))
        every = [self.raw_eps(x, t, torch.full_like(label, other)) for other in range(self.conditions)]
        return torch.stack(every).mean(dim=0)

    def pull(self, x: Tensor, label: Tensor) -> Tensor:
        """e(x) (N, C, H, W)."""
        t = full_timesteps(self.schedule.timesteps()[0], x)
        return self.raw_eps(x, t, label) - self.unconditional(x, t, label)

    def adjusted(self, x: Tensor, label: Tensor) -> Tensor:
        """Noise x (N, C, H, W) after all rounds."""
        length = self.rho * x[0].numel() ** 0.5
        for _ in range(self.rounds):
            here = self.pull(x, label)
            norm = here.flatten(1).norm(dim=1).clamp_min(torch.finfo(here.dtype).tiny).view(-1, 1, 1, 1)
            x = x - self.gamma * (self.pull(x + length * (here / norm), label) - here)
        return x

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """DDIM from the adjusted noise."""
        assert label is not None
        late = {*self.schedule.timesteps()[self.opening :]}

        def eps(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
            assert label is not None
            return self.eps(x, t, label) if int(t[0]) in late else self.unconditional(x, t, label)

        return denoise(self.schedule, eps, self.adjusted(self.initial_noise(ids, draw), label), label)


class InitialNoise(Defense):
    """Initial noise that is moved out of the condition's pull."""

    name = "initial_noise"
    summary = "moves the initial noise away from what a condition has memorised, and opens the walk without it"
    needs_base = True
    changes = "sampling"
    is_iterative = False  # it starts the walk, so that what steers has to stand below it

    rho: float = release_param(0.39, ge=0)
    gamma: float = release_param(0.7, ge=0)
    rounds: int = release_param(2, ge=0)
    opening: float = release_param(0.1, ge=0, le=1)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a network that is not conditioned."""
        if setting.condition != "none":
            return None
        return Skip(
            "it takes the pull of a condition out of the initial noise, and the network has none: "
            'write condition = "label" under [network]'
        )

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put it before the base's walk. It reads no training image."""
        assert task.base is not None
        return AdjustedRelease.wrap(
            task.base,
            guarantee=task.base.guarantee,
            rho=self.rho,
            gamma=self.gamma,
            rounds=self.rounds,
            opening=round(self.opening * len(task.base.schedule.timesteps())),
        )


def _has_empty_condition(release: Release) -> bool:
    """Tell whether the network below takes an empty condition: guidance has asked for one."""
    below: Release | None = release
    while below is not None:
        if isinstance(below, PretrainedRelease):
            return below.guidance != 1
        below = below.base
    return False
