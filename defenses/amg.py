"""AMG: anti-memorisation guidance (2404.00922, CVPR 2024), as in its CIFAR-10 code, for a DDIM walk.

Every training image x_i is noised to the timestep of the state, q_t(x_i), and compared with it. With d_i the root mean
square difference between x and q_t(x_i), and d_1 .. d_50 the fifty least (all, where there are fewer):

    nL2(x, t) = d_1 / (mean of d_1 .. d_50 / 2)                     Carlini's relative distance: small near a copy
    where nL2 < thr(t):  eps_hat = eps - sqrt(1 - abar_t) scale (thr(t) - nL2) D grad_x nL2,
    D grad_x nL2 = nL2 (x - q_t(x_1)) / d_1^2,   D = C H W,   thr(t) = 1.95 - 0.45 exp(-0.025 * 250 t / T)

which moves away from the neighbour; that it is the neighbour, and the denominator, are constants in the gradient.
`despecify` (paper: G_spe) takes the condition away: eps -> eps - s1 (eps(y) - eps(0)), s1 = clip(despecify sim, 0, 1),
sim = 1 - nL2 / 2, where the gate is open.

The scale. The published code adds Sigma_t 80,000 (thr - nL2) grad_x nL2 to the mean of an ancestral step; in the noise
that is a factor of -sqrt(1 - abar_t). The gradient in one pixel falls as 1 / D, so D is taken out of the constant, and
80,000 on 3 x 32 x 32 pixels is `scale` = 26 on images of every size. A push is as long as its step, and 26 belongs to
walks of 250: one of 40 moves six times as far before it looks again, and passes the gate by far. The default is 1.

Choices of ours: the noise of q_t is drawn once for each training image, and choice and gradient share it (the published
code draws twice, so that its gradient follows the difference of two draws). No unguided twin decides when guidance may
begin, as in that code: it could not be a function of x and t; the paper's own rule has no such state. The gate is
strict, and 250 t / T stands for the index of a walk respaced to 250 steps. The thresholds are the published ones; they
belong to 3,072 pixels, where distances between noisy images hardly differ (nL2 near 2), and are wide open on 64. Our
networks have no empty label, so eps(0) is the mean over all labels, and s1 ends at 1 (the published bound is that of
classifier-free guidance). It is so of given models of captions too: eps(y) is then the guided answer, and with one
caption alone despecification takes nothing away. Near-duplicates were removed with the split. Of a latent model the
distances are those of latents, D is how many numbers one has, and the latents are what ships.

It holds the training images: they ship as parts["members"], and no claim survives. Whoever may ask for eps can see the
push, and it tells members from others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.api import Artefacts, AuditSetting, Defense, Release, Skip, Task, release_param, void_guarantee
from leakbench.models.diffusion import Schedule, add_noise, alpha_sigma

from ._gated import GatedRelease

_NEAREST = 50
_ELEMENTS = 2**25  # numbers of a table that are held at one time


@dataclass(frozen=True)
class Crowd:
    """The training images (n, D) and the one noise of each (n, D), on the device."""

    images: Tensor
    noise: Tensor

    @classmethod
    def of(cls, task: Task, members: Tensor) -> Crowd:
        """Build the crowd of the training images (n, C, H, W)."""
        flat = members.flatten(1).to(task.device)
        noise = task.streams.of("crowd", AMG.name).normal(torch.arange(len(flat), device=task.device), flat.shape[1:])
        return cls(flat, noise)

    def likeness(self, schedule: Schedule, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """nL2 (N,) of states x (N, C, H, W) at t (N,), and D times its gradient (N, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            flat = x.float().flatten(1)
            near = self._shortlist(schedule, flat, t)
            rows = max(1, _ELEMENTS // (near.shape[1] * flat.shape[1]))
            parts = zip(flat.split(rows), t.split(rows), near.split(rows), strict=True)
            found = [self._exactly(schedule, *part) for part in parts]
        return torch.cat([nl2 for nl2, _ in found]), torch.cat([away for _, away in found]).view_as(x)

    def _shortlist(self, schedule: Schedule, flat: Tensor, t: Tensor) -> Tensor:
        """The nearest q_t(x_i) of each row, (N, 50): by matrix products, so up to rounding."""
        scale, sigma = alpha_sigma(schedule, t, flat)
        best = torch.empty(len(flat), 0, device=flat.device)
        index = torch.empty(len(flat), 0, dtype=torch.int64, device=flat.device)
        for first in range(0, len(self.images), size := max(1, _ELEMENTS // len(flat))):
            image, noise = self.images[first : first + size], self.noise[first : first + size]
            # |x - q|^2 - |x|^2, with q = scale image + sigma noise
            square = scale.square() * image.square().sum(dim=1) + sigma.square() * noise.square().sum(dim=1)
            both = 2 * scale * sigma * (image * noise).sum(dim=1)
            squared = square + both - 2 * (scale * (flat @ image.T) + sigma * (flat @ noise.T))
            best = torch.cat([best, squared], dim=1)
            index = torch.cat([index, torch.arange(first, first + len(image), device=t.device).expand_as(squared)], 1)
            best, order = best.topk(min(_NEAREST, best.shape[1]), dim=1, largest=False)
            index = index.gather(1, order)
        return index

    def _exactly(self, schedule: Schedule, flat: Tensor, t: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        """nL2 and D times its gradient, from the differences to the shortlisted images."""
        states = add_noise(schedule, self.images[near], t, self.noise[near])
        distance = (flat[:, None] - states).square().mean(dim=2).sqrt()
        least, which = distance.min(dim=1)
        tiny = torch.finfo(least.dtype).tiny
        nl2 = least / (distance.mean(dim=1) / 2).clamp_min(tiny)
        nearest = states[torch.arange(len(flat), device=flat.device), which]
        # At an exact copy the direction is undefined: no push.
        return nl2, (nl2 / least.square().clamp_min(tiny))[:, None] * (flat - nearest)


def thresholds(T: int, device: torch.device) -> Tensor:
    """thr(t) for t = 0 .. T - 1, float32 (T,)."""
    t = torch.arange(T, dtype=torch.float64)
    return (1.95 - 0.45 * torch.exp(-0.025 * 250 * t / T)).float().to(device)


@dataclass(frozen=True)
class GuidedRelease(GatedRelease):
    """Guided away from the nearest of the training images in parts["members"]."""

    crowd: Crowd | None = None
    threshold: Tensor | None = None  # (T,)
    scale: float = 0.0
    despecify: float = 0.0

    def guided(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """eps_hat (N, C, H, W) and whether the gate was open (N,)."""
        assert self.crowd is not None and self.threshold is not None
        eps = self.unguided(x, t, label)
        if self.scale == 0 and self.despecify == 0:
            return eps, torch.zeros(len(x), dtype=torch.bool, device=x.device)
        nl2, away = self.crowd.likeness(self.schedule, x, t)
        short = self.threshold[t] - nl2
        push = alpha_sigma(self.schedule, t, x)[1] * (self.scale * short).view(-1, 1, 1, 1) * away
        if self.despecify and label is not None:
            s1 = (self.despecify * (1 - nl2 / 2)).clamp(0, 1).view(-1, 1, 1, 1)
            push = push + s1 * (eps - self._of_no_label(x, t, label))
        gate = short > 0
        return torch.where(gate.view(-1, 1, 1, 1), eps - push, eps), gate

    def _of_no_label(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The base's eps, mean over all labels."""
        asked = [self.unguided(x, t, torch.full_like(label, other)) for other in range(self.conditions)]
        return torch.stack(asked).mean(dim=0)


class AMG(Defense):
    """Anti-memorisation guidance."""

    name = "amg"
    summary = "guides samples away from their nearest training image (anti-memorisation guidance)"
    needs_base = True
    changes = "sampling"
    ships = frozenset({"members"})

    scale: float = release_param(1.0, ge=0)
    despecify: float = release_param(0.0, ge=0, le=1)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse to take a condition away where there is none."""
        if self.despecify > 0 and setting.condition == "none":
            return Skip("despecify takes the condition away, and the network has none: use despecify = 0")
        return None

    def fit(self, task: Task) -> Artefacts:
        """Keep the training images."""
        return Artefacts(tensors={"members": task.images[:]})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put the guidance before the base's sampler."""
        assert task.base is not None
        members = artefacts.tensors["members"].to(task.device)
        labels = task.base.conditions if self.despecify else 0
        return GuidedRelease.wrap(
            task.base,
            guarantee=void_guarantee(task.base, "AMG compares samples with members"),
            parts={"members": members},
            crowd=Crowd.of(task, members),
            threshold=thresholds(task.base.schedule.T, task.device),
            scale=self.scale,
            despecify=self.despecify,
            network_calls=task.base.network_calls * (1 + labels),
        )
