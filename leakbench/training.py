"""The one training loop: Adam, gradient clipping, EMA, mixed precision, checkpoints and resume.

All randomness of a step comes from a counter-based stream at that step's number, so a killed run that resumes at step k
sees exactly what an undisturbed run would have seen, and no generator state needs to be saved. Images are drawn with
replacement (a choice of ours: an epoch's shuffle would be state).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from leakbench.device import Stream, autocast

_CHUNK = 64  # steps whose random numbers are made in one go, unless they are more than
_CHUNK_NUMBERS = 2**21
_CHECKPOINT_EVERY = 500


@dataclass(frozen=True)
class Recipe:
    """How long and how to train. `lr` falls to zero along a cosine; `ema` is the decay of the averaged weights."""

    steps: int
    batch: int = 128
    lr: float = 1e-3
    clip: float = 1.0
    ema: float = 0.999

    @property
    def evaluations(self) -> int:
        """Network evaluations: one image forward is 1, backward another 2."""
        return 3 * self.steps * self.batch


@dataclass(frozen=True)
class Batch:
    """One step's random draws: `index` (B,) into the training images, `t` (B,) timesteps, `noise` (B, *noise_shape)."""

    index: Tensor
    t: Tensor
    noise: Tensor


Loss = Callable[[nn.Module, Batch], Tensor]


def draws(
    stream: Stream,
    first: int,
    last: int,
    *,
    batch: int,
    count: int,
    timesteps: int,
    shape: tuple[int, ...],
    device: torch.device,
) -> list[Batch]:
    """The draws of steps first .. last - 1: indices below `count`, timesteps below `timesteps`, noise of `shape`."""
    steps = torch.arange(first, last, device=device)
    index = stream.integers(steps, count, (batch,), draw=0)
    t = stream.integers(steps, timesteps, (batch,), draw=1)
    noise = stream.normal(steps, (batch, *shape), draw=2)
    return [Batch(*row) for row in zip(index, t, noise, strict=True)]


def train(
    module: nn.Module,
    loss: Loss,
    recipe: Recipe,
    *,
    stream: Stream,
    count: int,
    timesteps: int = 1,
    noise_shape: tuple[int, ...] = (),
    checkpoint: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> nn.Module:
    """Train in place, leave the EMA weights in the module, set it to eval mode and return it.

    `loss(module, batch)` returns a scalar, a mean over the batch. `count` is the number of training images.
    `checkpoint` is a file that is written now and then and resumed from. `progress` is told the number of steps done.
    """
    device = next(module.parameters()).device
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=recipe.lr, fused=True)
    averaged = [p.detach().clone() for p in parameters]
    # Numbers depend on the step alone, so the chunk may follow the memory that a step's noise takes.
    chunk = max(1, min(_CHUNK, _CHUNK_NUMBERS // (recipe.batch * math.prod(noise_shape))))
    done = _resume(checkpoint, parameters, averaged, optimizer)
    module.train()
    while done < recipe.steps:
        last = min(done + chunk, recipe.steps)
        batches = draws(
            stream, done, last, batch=recipe.batch, count=count, timesteps=timesteps, shape=noise_shape, device=device
        )
        for step, batch in enumerate(batches, start=done):
            _step(module, loss, batch, recipe, step, optimizer, parameters, averaged)
        done = last
        if progress:
            progress(done)
        if checkpoint and done < recipe.steps and done // _CHECKPOINT_EVERY > (done - chunk) // _CHECKPOINT_EVERY:
            _save(checkpoint, done, parameters, averaged, optimizer)
    with torch.no_grad():
        torch._foreach_copy_(list[Tensor](parameters), averaged)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return module.eval().requires_grad_(False)


def _step(
    module: nn.Module,
    loss: Loss,
    batch: Batch,
    recipe: Recipe,
    step: int,
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    averaged: list[Tensor],
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    _gradients(module, loss, batch, optimizer)
    torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
    optimizer.step()
    # Early on the average would be dominated by the random start: its decay grows with the step (Polyak's warm-up).
    decay = min(recipe.ema, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(averaged, list(parameters), 1 - decay)


def _gradients(module: nn.Module, loss: Loss, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    """Gradients of the batch's mean loss; in ever smaller pieces when a CUDA device runs out of memory."""
    rows = len(batch.index)
    piece = rows
    while True:
        optimizer.zero_grad()
        try:
            for start in range(0, rows, piece):
                part = Batch(*(values[start : start + piece] for values in (batch.index, batch.t, batch.noise)))
                with autocast(batch.index.device):
                    value = loss(module, part)
                (value if piece == rows else value * (len(part.index) / rows)).backward()
            return
        except torch.cuda.OutOfMemoryError:
            if piece == 1:
                raise
            torch.cuda.empty_cache()
            piece = (piece + 1) // 2


def _save(
    path: Path, done: int, parameters: list[nn.Parameter], averaged: list[Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state under a temporary name, then rename: a kill leaves the old checkpoint or the new one."""
    state = {"done": torch.tensor(done)}
    for i, (parameter, average) in enumerate(zip(parameters, averaged, strict=True)):
        state[f"parameter.{i}"], state[f"average.{i}"] = parameter.detach(), average
        state |= {f"{key}.{i}": value for key, value in optimizer.state[parameter].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({key: value.contiguous() for key, value in state.items()}, temporary)
    temporary.replace(path)


def _resume(
    path: Path | None, parameters: list[nn.Parameter], averaged: list[Tensor], optimizer: torch.optim.Optimizer
) -> int:
    """Load the state if there is one that can be read. Returns the number of steps already done."""
    if path is None or not path.exists():
        return 0
    kinds = ("parameter", "average", "step", "exp_avg", "exp_avg_sq")
    try:
        state = load_file(path, device=str(parameters[0].device))
        rows = [[state[f"{kind}.{i}"] for kind in kinds] for i in range(len(parameters))]
    except Exception:  # a checkpoint cut short by a full disk: start again, nothing finished is lost
        path.unlink()
        return 0
    with torch.no_grad():
        for parameter, average, (ours, mean, step, *moments) in zip(parameters, averaged, rows, strict=True):
            parameter.copy_(ours)
            average.copy_(mean)
            # Adam's fused kernel wants its moments laid out as the parameter is (channels_last on CUDA).
            first, second = (torch.empty_like(parameter).copy_(moment) for moment in moments)
            optimizer.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}
    return int(state["done"])
