"""Differentially private fine-tuning of low-rank adapters on a public model: DP-LoRA.

LoRA (Hu et al. 2021, 2106.09685, eq. 3) adds to the frozen weight W (out, in) of a linear layer the product of two
factors, W + B A, with A (rank, in) and B (out, rank). Only these are trained, here by dp_sgd's steps: an image's
gradient has as many entries as the factors, and so has the noise, which is why it hurts less than on all weights.
DPImageBench (Gong et al. 2025, @565f8d7) calls it DP-LoRA, on the attention of a latent model pretrained on public
images; DP-LDM (Lyu et al. 2023, 2305.15759) trains the attention itself. Published there: rank 8 on to_q, to_k, to_v
and to_out, 8 draws an image. The factors are merged before the network is handed out: it has the base's shape.

The claim is dp_sgd's, with its conditions: the base has to be public, or what it spent is composed.

Choices of ours. (1) A network without attention (the MLP of small images) gets adapters on all its linear layers.
(2) A starts as torch starts a linear layer and B at zero, so that training starts from the base; the scale of B A is 1.
(3) A layer that is narrower than the rank gets the rank that it can have. (4) All else as dp_sgd, averaged weights
(here factors) included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leakbench.api import Task, fit_param
from leakbench.models.denoiser_training import trainable
from leakbench.runtime.device import place, seeded

from .dp_sgd import DPSGD

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


class Adapter(nn.Module):
    """A frozen linear layer and the product of two factors beside it."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        rank = min(rank, layer.in_features, layer.out_features)
        self.layer = layer
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layer(x) + self.up(self.down(x))
        return answer

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with the product added to its weight."""
        self.layer.weight += self.up.weight @ self.down.weight
        return self.layer


def adapted_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The layers that get adapters, by name: projections of attention, or where there are none all linear layers."""
    linear = {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)}
    return {name: part for name, part in linear.items() if name.endswith(_ATTENTION)} or linear


def put_in(network: nn.Module, name: str, part: nn.Module) -> None:
    """Put a part where a dotted name says."""
    above, _, last = name.rpartition(".")
    setattr(network.get_submodule(above), last, part)


class DPLoRA(DPSGD):
    """DP-SGD on low-rank adapters of a base's linear layers."""

    name = "dp_lora"
    summary = "differentially private fine-tuning of low-rank adapters on a public base (DP-LoRA)"
    needs_base = True

    rank: int = fit_param(8, ge=1)

    def start(self, task: Task) -> nn.Module:
        """The frozen base with adapters."""
        assert task.base is not None
        network = trainable(task.base.network, task.device).requires_grad_(False)
        with seeded(task.streams.of("weights", self.name)):
            for name, layer in adapted_layers(network).items():
                adapter = Adapter(layer, self.rank)
                for factor in (adapter.down, adapter.up):
                    place(factor, task.device)
                put_in(network, name, adapter)
        return network

    def finish(self, network: nn.Module) -> nn.Module:
        """The base with the products merged in."""
        adapters = {name: part for name, part in network.named_modules() if isinstance(part, Adapter)}
        for name, adapter in adapters.items():
            put_in(network, name, adapter.merged())
        return network
