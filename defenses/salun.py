"""SalUn: relabel what is to be forgotten, in the weights that matter to it (2310.12508, ICLR 2024).

    mask = 1[ |g_f| among the top `density` of all weights ],   computed once
    min_theta ||eps_theta(x_t | c') - eps_theta(x_t | c_f)||^2 + alpha L_r(theta)   over the masked weights only

x_t are noised images to forget; c' = (c_f + 1) mod C; the c' side is the network's own answer, detached. The other
weights keep their bits: their gradient is zero from the first step on, and so are Adam's moments. g_f is the sum over
the batches of one pass of their gradients of L_f, a sum over pixels, each clipped to norm 1. A step's gradient is
clipped to norm 1 before it is masked, as published.

Loss scale: both terms are means over pixels. The published code SUMS L_r over pixels and takes the mean in the other
term, so its alpha = 1e-3 acts as 1e-3 x 3072 = 3.07 on CIFAR-10: that is the default here, in means.

Choices of ours: the pass draws one timestep and noise for each image to forget (published: timesteps in pairs t and
T - 1 - t, and a guided answer), in eval mode; equal magnitudes are taken in the vector's order, so the density is met
exactly. The published base is guided and drops labels in training; ours does neither.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.api import Task, fit_param
from leakbench.models.diffusion import add_noise
from leakbench.models.training.loop import Rule

from ._unlearning import Edit, Pair, Unlearning, clipped


def top_mask(values: list[Tensor], density: float) -> list[Tensor]:
    """1 for the share `density` (0 to 1) of all numbers that is largest in magnitude, else 0; shaped as the values."""
    flat = torch.cat([value.abs().flatten() for value in values])
    chosen = flat.argsort(descending=True, stable=True)[: round(density * len(flat))]
    mask = torch.zeros_like(flat).index_fill_(0, chosen, 1.0)
    parts = mask.split([value.numel() for value in values])
    return [part.view_as(value) for part, value in zip(parts, values, strict=True)]


class SalUn(Unlearning):
    """Random-label unlearning under a saliency mask."""

    name = "salun"
    summary = "relabels what is to be forgotten, in the weights most salient for it (SalUn)"
    labels_only = True

    alpha: float = fit_param(3.07, ge=0)
    density: float = fit_param(0.5, gt=0, le=1)

    def step_cost(self) -> int:
        """Two gradients and a detached forward."""
        return 3 + 3 + 1

    def first_cost(self, task: Task) -> int:
        """One pass of gradients over the images to forget."""
        assert task.forget is not None
        return 3 * int(task.forget.sum())

    def rule(self, edit: Edit) -> Rule:
        """The masked gradient."""
        mask = top_mask(saliency(edit), self.density)
        count = edit.task.network.conditions

        def step(module: nn.Module, pair: Pair) -> None:
            batch, label = pair.forget, edit.label(pair.forget)
            assert label is not None
            x_t = add_noise(edit.task.schedule, edit.images[batch.index], batch.t, batch.noise)
            with torch.no_grad():
                target = module(x_t, batch.t, (label + 1) % count)
            relabel = F.mse_loss(module(x_t, batch.t, label), target)
            loss = relabel + self.alpha * edit.errors(module, pair.keep).mean()
            edit.leave([g * kept for g, kept in zip(clipped(edit.gradient(loss)), mask, strict=True)])

        return step


def saliency(edit: Edit) -> list[Tensor]:
    """g_f of the network as it stands, over one pass of the images to forget."""
    total = [torch.zeros_like(p) for p in edit.parameters]
    for batch in edit.one_pass("salun mask", edit.chosen[0]):
        gradient = edit.gradient(edit.pixels * edit.errors(edit.network, batch).mean())
        torch._foreach_add_(total, clipped(gradient))
    return total
