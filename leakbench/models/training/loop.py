"""The one training loop: Adam, gradient clipping, EMA, mixed precision, checkpoints and resume.

`train` minimises a loss. `optimise` is the loop under it, for methods that make a step's gradient in their own way:
differentially private training clips it image by image, unlearning joins those of two data sets.

All randomness of a step comes from a counter-based stream at that step's number, so a killed run that resumes at step k
sees exactly what an undisturbed run would have seen, and no generator state needs to be saved. Images are drawn with
replacement (a choice of ours: an epoch's shuffle would be state).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leakbench.models.training.adam import Adam
from leakbench.models.training.checkpoints import resume, save
from leakbench.models.training.gradients import Batch, Loss, drops, mean_gradient
from leakbench.runtime import distributed
from leakbench.runtime.device import RngStream, maybe_compile, seeded

__all__ = ["Batch", "Draws", "Loss", "Recipe", "Rule", "Watch", "draws", "drops", "mean_gradient", "optimise", "train"]

_CHUNK = 64  # steps whose random numbers are made in one go, unless they are more than
_CHUNK_NUMBERS = 2**21
_CHECKPOINT_EVERY = 500


@dataclass(frozen=True)
class Recipe:
    """Length and settings of a training. `lr` falls to zero along a cosine; `ema` is the decay of the averaged weights
    (0: the last ones); `clip` bounds the norm of a step's gradient (infinite: it is left as it is).
    """

    steps: int
    batch: int = 128
    lr: float = 1e-3
    clip: float = 1.0
    ema: float = 0.999

    @property
    def evaluations(self) -> int:
        """Network evaluations: one image forward is 1, backward another 2."""
        return 3 * self.steps * self.batch


Rule = Callable[
    [nn.Module, Any], None
]  # (module, one step's draws): leaves the step's gradient in .grad, which is unset
Draws = Callable[[int, int], Sequence[Any]]  # (first, last): the draws of steps first .. last - 1


@dataclass(frozen=True)
class Watch:
    """Looks at the averaged weights every `every` steps; training ends where `stop(module)` says so."""

    every: int
    stop: Callable[[nn.Module], bool]


def draws(
    stream: RngStream,
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
    stream: RngStream,
    count: int,
    timesteps: int = 1,
    noise_shape: tuple[int, ...] = (),
    checkpoint: Path | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
    prefetch: Callable[[Sequence[Tensor]], None] | None = None,
) -> nn.Module:
    """Train in place, leave the EMA weights in the module, set it to eval mode and return it.

    `loss(module, batch)` returns a scalar, a mean over the batch. `count` is the number of training images.
    `checkpoint` is a file that is written now and then and resumed from. `progress` is told the number of steps done.
    `prefetch` is given the `index` of the next steps' batches before they are taken: ImageView.prefetch fetches them
    meanwhile.
    """
    device = next(module.parameters()).device

    def batches(first: int, last: int) -> list[Batch]:
        sizes: dict[str, Any] = {"batch": recipe.batch, "count": count, "timesteps": timesteps, "shape": noise_shape}
        drawn = draws(stream, first, last, **sizes, device=device)
        if prefetch:
            prefetch([one.index for one in drawn])
        return drawn

    def rule(module: nn.Module, batch: Batch) -> None:
        mean_gradient(module, loss, batch)

    numbers = recipe.batch * math.prod(noise_shape)
    # A watch asks the module in other shapes and modes; compiled dropout would draw other numbers.
    steady = watch is None and not drops(module)
    name = getattr(loss, "__qualname__", type(loss).__qualname__)
    work = f"training {type(module).__name__} by {name} in batches of {recipe.batch} {[*noise_shape]}"
    with maybe_compile(module, recipe.steps, device, work) if steady else nullcontext():
        return optimise(
            module,
            rule,
            recipe,
            batches,
            stream=stream,
            numbers=numbers,
            checkpoint=checkpoint,
            progress=progress,
            watch=watch,
        )


def optimise(
    module: nn.Module,
    rule: Rule,
    recipe: Recipe,
    batches: Draws,
    *,
    stream: RngStream,
    numbers: int = 1,
    checkpoint: Path | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
) -> nn.Module:
    """The loop under `train`: `rule(module, draws)` leaves a step's gradient in .grad; then clipping, Adam and EMA.

    `numbers` is about how many random numbers a step draws (more are made in one go where they are few). `stream`
    seeds what a module draws by itself (dropout). A watched training is not resumed but started again: what the watch
    has seen would be lost.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = Adam(parameters, lr=recipe.lr, fused=True)
    averaged = [p.detach().clone() for p in parameters]
    # Numbers depend on the step alone, so the chunk may follow the memory that a step's noise takes.
    chunk = max(1, min(_CHUNK, _CHUNK_NUMBERS // max(1, numbers)))
    checkpoint = None if watch else checkpoint
    done = resume(checkpoint, parameters, averaged, optimizer)
    module.train()
    while done < recipe.steps:
        last = min(done + chunk, recipe.steps, *([done - done % watch.every + watch.every] if watch else []))
        for step, batch in enumerate(batches(done, last), start=done):
            _step(module, rule, batch, recipe, step, optimizer, parameters, averaged, stream)
        before, done = done, last
        if progress:
            progress(done)
        due = done < recipe.steps and done // _CHECKPOINT_EVERY > before // _CHECKPOINT_EVERY
        if checkpoint and due and distributed.rank() == 0:
            save(checkpoint, done, parameters, averaged, optimizer)
        if watch and done % watch.every == 0 and _stops(module, watch, parameters, averaged):
            break
    with torch.no_grad():
        torch._foreach_copy_(list[Tensor](parameters), averaged)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return module.eval().requires_grad_(False)


def _stops(module: nn.Module, watch: Watch, parameters: list[nn.Parameter], averaged: list[Tensor]) -> bool:
    """Ask the watch about the averaged weights, then put the others back."""
    kept = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        torch._foreach_copy_(list[Tensor](parameters), averaged)
        answer = watch.stop(module.eval())
        torch._foreach_copy_(list[Tensor](parameters), kept)
    module.train()
    return answer


def _step(
    module: nn.Module,
    rule: Rule,
    batch: Any,
    recipe: Recipe,
    step: int,
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    averaged: list[Tensor],
    stream: RngStream,
) -> None:
    for options in optimizer.param_groups:
        options["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    optimizer.zero_grad()
    with _seeded(module, stream, step):
        rule(module, batch)
    _lay_out(parameters)
    if math.isfinite(recipe.clip):
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
    optimizer.step()
    # Early on the average would be dominated by the random start: its decay grows with the step (Polyak's warm-up).
    decay = min(recipe.ema, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(averaged, list(parameters), 1 - decay)


def _lay_out(parameters: list[nn.Parameter]) -> None:
    """Gradients in the memory order of their parameters: Adam's fused kernel reads both as flat memory, and a rule's
    gradients (autograd.grad's, of convolutions) may be ordered otherwise."""
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def _seeded(module: nn.Module, stream: RngStream, step: int) -> AbstractContextManager[object]:
    """Seeds torch's own generator for a step where the module has dropout, which can draw from no other."""
    if not drops(module):
        return nullcontext()
    return seeded(stream, step, next(module.parameters()).device)
