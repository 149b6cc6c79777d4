"""Guidance behind a gate: what releases share that push some images of a batch, and count how often they do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from leakbench.api import Release
from leakbench.models.diffusion import denoise
from leakbench.runtime import distributed


@dataclass(frozen=True)
class GatedRelease(Release):
    """A subclass says in `guided` which images are pushed and where to."""

    fired: list[Tensor] = field(default_factory=list)  # share of open gates, a tensor a step of every sampling walk

    def unguided(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The base's answer (N, C, H, W)."""
        return super().eps(x, t, label)

    def guided(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """eps_hat (N, C, H, W) and whether the gate was open, bool (N,)."""
        raise NotImplementedError

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """eps_hat."""
        return self.guided(x, t, label)[0]

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """DDIM with eps_hat, counting how often the gate is open at each step."""
        counted = torch.ones(len(ids), device=ids.device)
        counted[1:] = (ids[1:] != ids[0]).float()  # rows that only pad the batch repeat its first row
        walk: list[Tensor] = []

        def eps(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
            answer, gate = self.guided(x, t, label)
            walk.append(torch.stack([(gate * counted).sum(), counted.sum()]))
            return answer

        images = denoise(self.schedule, eps, self.initial_noise(ids, draw), label)
        self.fired.extend(walk)  # only of whole walks: one that ran out of memory is walked again in smaller batches
        return images

    def facts(self) -> dict[str, Any]:
        """gate_rate_by_t: {timestep: share of samples whose gate was open there}."""
        walk = self.schedule.timesteps()
        none = torch.zeros(len(walk), 2, device=self.device)
        ours = torch.stack(self.fired).view(-1, len(walk), 2).sum(dim=0) if self.fired else none
        counts = distributed.all_reduce(ours).tolist()  # of all processes that drew some of the samples
        if counts[0][1] == 0:
            return super().facts()
        return {"gate_rate_by_t": {str(t): fired / of for t, (fired, of) in zip(walk, counts, strict=True)}}
