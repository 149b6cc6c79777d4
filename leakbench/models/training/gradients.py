"""One step's draws, and the gradient of a loss that is a mean over them: whole, in pieces, or with other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from leakbench.runtime import distributed
from leakbench.runtime.device import AdaptiveBatch, autocast


@dataclass(frozen=True)
class Batch:
    """One step's random draws: `index` (B,) into the training images, `t` (B,) timesteps, `noise` (B, *noise_shape).

    `start`: the number of the first row in the step's whole batch, of which a loss may be given a piece.
    """

    index: Tensor
    t: Tensor
    noise: Tensor
    start: int = 0


Loss = Callable[[nn.Module, Batch], Tensor]


def drops(module: nn.Module) -> bool:
    """True if a module has dropout, so that it draws random numbers by itself."""
    return any(isinstance(part, nn.Dropout) and part.p > 0 for part in module.modules())


def mean_gradient(module: nn.Module, loss: Loss, batch: Batch) -> None:
    """Leave the gradient of the batch's loss, a mean over its rows, in .grad; in smaller pieces where memory runs out.

    The processes of a group that trains make it together, each of its share of the rows; where the module has dropout,
    whose draws belong to the whole batch, each makes all of it.
    """
    count, shared = len(batch.index), distributed.is_data_parallel() and not drops(module)
    rows = distributed.shard(count, 1) if shared else slice(0, count)
    name, first = getattr(loss, "__qualname__", type(loss).__name__), [*next(module.parameters()).shape]
    work = f"training {type(module).__name__} {first} by {name}"
    AdaptiveBatch(work, batch.index.device, count).run(partial(_gradient, module, loss, batch, rows))
    if shared:
        _add_up(module)


def _gradient(module: nn.Module, loss: Loss, batch: Batch, rows: slice, piece: int) -> None:
    """The part that some rows have in the gradient, in pieces of so many."""
    module.zero_grad()
    count = len(batch.index)
    for start in range(rows.start, rows.stop, piece):
        some = slice(start, min(start + piece, rows.stop))
        part = Batch(batch.index[some], batch.t[some], batch.noise[some], start)
        with autocast(batch.index.device):
            value = loss(module, part)
        (value if len(part.index) == count else value * (len(part.index) / count)).backward()


def _add_up(module: nn.Module) -> None:
    """Sum the gradients of all processes, in one message."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    for parameter, part in zip(
        parameters, distributed.all_reduce(flat).split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = part.view_as(parameter)
