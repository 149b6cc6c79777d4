"""Drawing the samples of a release: in full compute batches, shared out over the processes of a group.

Which batch a sample falls into depends on its place among all, never on how many processes there are: each draws whole
batches, so one process and many draw the same bits. The network is compiled where the suite asks for that.
"""

from __future__ import annotations

from math import ceil
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

    rows = [values[mine] for values in (ids, label) if values is not None]
    work = f"sampling by {type(release).__name__} in batches of {size} {[*release.shape]}"
    steps = len(walk) * ceil(count / size)  # of all processes: how many they are must not change the choice
    drawn = None
    with torch.no_grad(), autocast(release.device), maybe_compile(release.network, steps, release.device, work):
        if mine.start < mine.stop:
            with distributed.single_process():
                drawn = in_batches(batch, *rows, size=size, work=work)
    return distributed.all_gather(drawn, count, size)
