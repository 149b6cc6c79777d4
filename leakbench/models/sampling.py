"""Drawing the samples of a release: in compute batches of fixed sizes, shared out over the processes of a group.

Which batch a sample falls into depends on its place among all, never on how many processes there are: each draws whole
batches, so one process and many draw the same bits. The network is compiled where the suite asks for that, for full
batches alone: the rest would be one more compilation for each smaller size.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from leakbench.models.diffusion import Schedule
from leakbench.runtime import distributed
from leakbench.runtime.device import autocast, in_batches, maybe_compile


class Sampler(Protocol):
    """Source of samples; a Release is one."""

    @property
    def network(self) -> nn.Module: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def batch(self) -> int: ...
    def initial_noise(self, ids: Tensor, draw: int = 0) -> Tensor: ...
    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor: ...
    def decode(self, x0: Tensor) -> Tensor: ...


def draw(release: Sampler, ids: Tensor, label: Tensor | None) -> Tensor:
    """The samples (N, C, H, W) of these numbers (N,), conditioned on `label` (N,), float32, on the release's device."""
    count, size, walk = len(ids), release.batch, release.schedule.timesteps()
    mine = distributed.shard(count, size)

    def batch(ids: Tensor, label: Tensor | None = None) -> Tensor:
        return release.decode(release.generate(ids, label)).float()

    def drawn(start: int, stop: int) -> list[Tensor]:
        rows = [values[start:stop] for values in (ids, label) if values is not None]
        return [in_batches(batch, *rows, size=size, work=work)] if start < stop else []

    work = f"sampling by {type(release).__name__} in batches of {size} {[*release.shape]}"
    full = count // size  # full batches of all processes: how many processes there are must not change the choice
    end = min(mine.stop, max(mine.start, full * size))
    with torch.no_grad(), autocast(release.device), distributed.single_process():
        with maybe_compile(release.network, len(walk) * full, release.device, work):
            parts = drawn(mine.start, end)
        parts += drawn(end, mine.stop)
    return distributed.all_gather(torch.cat(parts) if parts else None, count, size)
