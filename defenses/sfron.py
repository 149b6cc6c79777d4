"""SFR-on: weighted ascent and plain descent in turn, by one Adam (2409.19732, NeurIPS 2024).

For k = 0 .. N - 1, with a_k = alpha (1 + cos(pi k / N)) / 2:

    forget step: l_i the loss of image i to forget, summed over pixels;  w_i = B l_i^(-lam) / sum_j l_j^(-lam), detached
                 g = grad( -a_k mean_i w_i l_i ) x mask
    remain step: g = grad L_r, unmasked

and each g is clipped to norm 1. Images that are forgotten already (large l) weigh less. The mask is computed once:
(F_f + 1e-15) / (F_r + 1e-15) >= threshold, F the mean squared gradient of the batches of one pass over the images to
forget (to keep), each gradient clipped to norm 1. It is no Fisher information: only directions matter after clipping.

Loss scale: published in sums over pixels. Ours is the mean times the number of pixels D in every place, which is the
same thing: alpha = 10 and lam = 0.5 are the published ones. Published: N = 150, lr 1e-4, batch 128.

One Adam serves both steps, as published, so after the first remain step masked weights move in forget steps as well,
by its momentum (tests/defenses/test_unlearning_peers.py sees nearly all of them move). The mask's density is recorded.

Choices of ours: `steps` counts forget steps (even numbers) and remain steps (odd ones), so N = steps / 2, rounded up;
the mask's loss is the denoising loss of the answer itself, with one timestep and noise an image (published: of the
answer guided at scale 2, but our networks have no unconditional answer); no flips, no dropped labels and no paired
timesteps, which the base was not trained with either. Nothing is averaged (the published average stands still).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from leakbench.api import Task, fit_param
from leakbench.models.training.loop import Rule

from ._unlearning import Edit, Pair, Unlearning, clipped


def adaptive_weights(losses: Tensor, lam: float) -> Tensor:
    """w_i = B l_i^(-lam) / sum_j l_j^(-lam), detached: (B,), mean 1. `losses` are sums over pixels."""
    inverse = (losses.detach() + 1e-8) ** -lam
    return inverse * len(inverse) / inverse.sum()


class SFRon(Unlearning):
    """Alternates masked, weighted forgetting with remembering."""

    name = "sfron"
    summary = "alternates weighted, masked ascent with descent on what stays (SFR-on)"

    alpha: float = fit_param(10.0, ge=0)
    lam: float = fit_param(0.5, ge=0)
    threshold: float = fit_param(1.0, ge=0)

    def step_cost(self) -> int:
        """One gradient, of one side or the other."""
        return 3

    def first_cost(self, task: Task) -> int:
        """One pass of gradients over all images."""
        return 3 * len(task.images)

    def strength(self, k: int) -> float:
        """a_k."""
        return self.alpha * (1 + math.cos(math.pi * k / math.ceil(self.steps / 2))) / 2

    def rule(self, edit: Edit) -> Rule:
        """A forget step at even numbers, a remain step at odd ones."""
        mask = self.mask(edit)
        edit.notes["mask_density"] = torch.cat([part.flatten() for part in mask]).mean()

        def step(module: nn.Module, pair: Pair) -> None:
            if pair.step % 2 == 0:
                gradient = edit.gradient(self.forget_loss(edit, module, pair))
                edit.leave([g * part for g, part in zip(gradient, mask, strict=True)])
            else:
                edit.leave(edit.gradient(edit.pixels * edit.errors(module, pair.keep).mean()))

        return step

    def forget_loss(self, edit: Edit, module: nn.Module, pair: Pair) -> Tensor:
        """-a_k mean_i w_i l_i."""
        losses = edit.pixels * edit.errors(module, pair.forget)
        return -self.strength(pair.step // 2) * (adaptive_weights(losses, self.lam) * losses).mean()

    def mask(self, edit: Edit) -> list[Tensor]:
        """1 where a weight matters more to the images to forget than to those to keep, else 0."""
        forget, keep = (mean_squares(edit, indices) for indices in edit.chosen)
        ratios = ((f + 1e-15) / (k + 1e-15) for f, k in zip(forget, keep, strict=True))
        return [(ratio >= self.threshold).to(ratio.dtype) for ratio in ratios]


def mean_squares(edit: Edit, indices: Tensor) -> list[Tensor]:
    """The mean over one pass's batches of the squared gradient of their loss, clipped to norm 1."""
    total, batches = [torch.zeros_like(p) for p in edit.parameters], list(edit.one_pass("sfron mask", indices))
    for batch in batches:
        gradient = clipped(edit.gradient(edit.pixels * edit.errors(edit.network, batch).mean()))
        torch._foreach_add_(total, [g.square() for g in gradient])
    return [value / len(batches) for value in total]
