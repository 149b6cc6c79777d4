"""Networks of one architecture trained at once: as many steps as one needs, each of them for all.

A small network leaves most of a CUDA device idle, and what a step costs there is to launch it. So the networks' weights
become the rows of one matrix, their batches stand side by side, torch.vmap makes one pass of the forward calls, and the
loop of leakbench.models.training.loop sees a single parameter: Adam and EMA act on every number by itself. Only
clipping does not, and is done row by row. Each network sees the draws that it would have seen alone, so it becomes what
it would have become alone, but for rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from leakbench.models.training.gradients import Batch, drops, mean_gradient
from leakbench.models.training.loop import Recipe, draws, optimise
from leakbench.runtime.device import RngStream

Losses = Callable[[nn.Module, Batch], Tensor]


class _GroupNorm(nn.GroupNorm):
    """Group norm spelt out, in float32 under autocast as torch's own: torch 2.11 cannot batch the fused kernel."""

    def forward(self, input: Tensor) -> Tensor:
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        grouped = wide.unflatten(1, (self.num_groups, -1))
        variance, mean = torch.var_mean(grouped, tuple(range(2, grouped.dim())), correction=0, keepdim=True)
        normed = ((grouped - mean) * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        channels = (-1, *(1 for _ in input.shape[2:]))
        return normed * self.weight.view(channels) + self.bias.view(channels)


class StackedModule(nn.Module):
    """K networks of one architecture as one, each a row of `weights` (K, P). Called as one of them is, with inputs
    (B, K, ...), of which network k answers column k: (B, K, ...).

    Raises ValueError for networks with dropout: no network's draws would be those that it makes alone.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if any(map(drops, networks)):
            raise ValueError("networks with dropout cannot be trained together")
        rows = [torch.cat([p.detach().flatten() for p in network.parameters()]) for network in networks]
        self.weights = nn.Parameter(torch.stack(rows))
        self._shapes = {name: p.shape for name, p in networks[0].named_parameters()}
        # In a tuple, where its own weights are none of the stack's. Without dropout, eval mode differs in nothing.
        self._body = (copy.deepcopy(networks[0]).eval(),)
        for part in self._body[0].modules():
            if type(part) is nn.GroupNorm:
                part.__class__ = _GroupNorm

    def forward(self, *inputs: Tensor | None) -> Tensor:
        parts = self.weights.split([shape.numel() for shape in self._shapes.values()], dim=1)
        named = {key: w.view(-1, *shape) for w, (key, shape) in zip(parts, self._shapes.items(), strict=True)}
        columns = [None if value is None else 1 for value in inputs]
        # Attention is spelt out: its fused kernels cannot be batched on every device.
        with sdpa_kernel(SDPBackend.MATH):
            answer: Tensor = torch.vmap(self._answer, in_dims=(0, *columns), out_dims=1)(named, *inputs)
        return answer

    def _answer(self, weights: dict[str, Tensor], *inputs: Tensor | None) -> Any:
        return functional_call(self._body[0], weights, inputs)

    def hand_back(self, networks: Sequence[nn.Module]) -> None:
        """Give each network its row, in eval mode and without gradients."""
        for row, network in zip(self.weights.detach(), networks, strict=True):
            parameters = list(network.parameters())
            with torch.no_grad():
                for p, part in zip(parameters, row.split([p.numel() for p in parameters]), strict=True):
                    p.copy_(part.view_as(p))
            network.eval().requires_grad_(False)


def train_together(
    networks: Sequence[nn.Module],
    losses: Losses,
    recipe: Recipe,
    *,
    streams: Sequence[RngStream],
    counts: Sequence[int],
    timesteps: int = 1,
    noise_shape: tuple[int, ...] = (),
    checkpoint: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """`leakbench.models.training.loop.train` for K networks at once, each with its stream and number of training
    images.

    `losses(stack, batch)` answers the loss of each network, (K,), a mean over the batch. The tensors of `batch` are
    those of `train` with a column a network: index and t (B, K), noise (B, K, *noise_shape). `checkpoint` is a file of
    these networks in this order.
    """
    stack = StackedModule(networks)

    def batches(first: int, last: int) -> list[Batch]:
        sizes: dict[str, Any] = {"batch": recipe.batch, "timesteps": timesteps, "shape": noise_shape}
        device = stack.weights.device
        each = [draws(s, first, last, count=n, **sizes, device=device) for s, n in zip(streams, counts, strict=True)]
        return [_side_by_side(step) for step in zip(*each, strict=True)]

    def rule(module: nn.Module, batch: Batch) -> None:
        mean_gradient(module, lambda module, part: losses(module, part).sum(), batch)
        _clip_rows(stack.weights, recipe.clip)

    unclipped, numbers = replace(recipe, clip=math.inf), recipe.batch * math.prod(noise_shape)
    options: dict[str, Any] = {"numbers": numbers, "checkpoint": checkpoint, "progress": progress}
    optimise(stack, rule, unclipped, batches, stream=streams[0], **options)
    stack.hand_back(networks)


def _side_by_side(step: Sequence[Batch]) -> Batch:
    """One step's draws of all networks."""
    index, t, noise = (torch.stack([getattr(b, key) for b in step], dim=1) for key in ("index", "t", "noise"))
    return Batch(index, t, noise)


def _clip_rows(weights: nn.Parameter, bound: float) -> None:
    """As torch.nn.utils.clip_grad_norm_ does it, for each row by itself."""
    if weights.grad is not None and math.isfinite(bound):
        norms = weights.grad.norm(dim=1, keepdim=True)
        weights.grad.mul_((bound / (norms + 1e-6)).clamp(max=1.0))
