"""Guidance behind a gate: what releases share that push some images of a batch, and count how often they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from leakbench.api import Release
from leakbench.models.diffusion import denoise
from leakbench.runtime import distributed

_RATE = "gate_rate_by_t"


@dataclass(frozen=True)
class GatedRelease(Release):
    """A release whose `guided` says which images are pushed and where to.

    fired: (open gates, answers) of each step of every finished sampling walk. step: gates of the step of a walk that is
    being made, a tensor (N,) for each answer; empty between walks.
    """

    fired: list[Tensor] = field(default_factory=list)
    step: list[list[Tensor]] = field(default_factory=list)

    def unguided(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The base's answer (N, C, H, W)."""
        return super().eps(x, t, label)

    def guided(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """eps_hat (N, C, H, W) and whether the gate was open, bool (N,)."""
        raise NotImplementedError

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """eps_hat; its gates are noted where a walk is being made."""
        answer, gate = self.guided(x, t, label)
        if self.step:
            self.step[-1].append(gate)
        return answer

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """DDIM with eps_hat, counting how often the gates are open at each step: its own and those below it."""
        counted = torch.ones(len(ids), device=ids.device)
        counted[1:] = (ids[1:] != ids[0]).float()  # rows that only pad the batch repeat its first row
        gated = list(self._gated())
        walks: list[list[Tensor]] = [[] for _ in gated]

        def eps(x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
            for release in gated:
                release.step.append([])
            answer = self.eps(x, t, label)
            for release, walk in zip(gated, walks, strict=True):
                walk.append(_count(release.step.pop(), counted))
            return answer

        try:
            images = denoise(self.schedule, eps, self.initial_noise(ids, draw), label)
        finally:
            for release in gated:
                release.step.clear()
        # Only of whole walks: one that ran out of memory is walked again in smaller batches.
        for release, walk in zip(gated, walks, strict=True):
            release.fired.extend(walk)
        return images

    def facts(self) -> dict[str, Any]:
        """gate_rate_by_t: {timestep: share of samples whose gate was open there}; gate_rate_by_t_below: the same of
        each gate that it stands on, the nearest first."""
        below = dict(super().facts())
        inner = [below.pop(_RATE)] if _RATE in below else []
        inner += below.pop(f"{_RATE}_below", [])
        rates = self._rates()
        if not rates:
            return super().facts()
        return below | {_RATE: rates} | ({f"{_RATE}_below": inner} if inner else {})

    def _gated(self) -> Iterator[GatedRelease]:
        """This release and the gated ones that it stands on, the nearest first."""
        release: Release | None = self
        while release is not None:
            if isinstance(release, GatedRelease):
                yield release
            release = release.base

    def _rates(self) -> dict[str, float]:
        """Share of open gates by timestep; empty where no walk was finished."""
        walk = self.schedule.timesteps()
        none = torch.zeros(len(walk), 2, device=self.device)
        ours = torch.stack(self.fired).view(-1, len(walk), 2).sum(dim=0) if self.fired else none
        counts = distributed.all_reduce(ours).tolist()  # of all processes that drew some of the samples
        return {str(t): fired / of for t, (fired, of) in zip(walk, counts, strict=True) if of}


def _count(gates: list[Tensor], counted: Tensor) -> Tensor:
    """Open gates and answers of a step, (2,), without rows that only pad and questions about other rows."""
    ours = [gate * counted for gate in gates if len(gate) == len(counted)]
    return torch.stack([torch.cat(ours).sum(), counted.sum() * len(ours)]) if ours else counted.new_zeros(2)
