"""SISS: subtracted importance-sampled scores, keeping and forgetting in one network call (2503.01034, ICLR 2025).

x is an image to keep and a one to forget; the pair shares t and eps; gamma = sqrt(alpha_bar_t), sigma^2 = 1 - gamma^2:

    m = gamma a + sigma eps  with probability lam, else  gamma x + sigma eps;     e = eps_theta(m, t)
    d_x = ||m - gamma x||^2 / (2 sigma^2),   d_a = ||m - gamma a||^2 / (2 sigma^2)             (sums over pixels)
    w_x = 1 / ((1 - lam) + lam exp(d_x - d_a)),   w_a = 1 / ((1 - lam) exp(d_a - d_x) + lam)
    L_x = w_x ||e - (m - gamma x) / sigma||^2,    L_a = w_a ||e - (m - gamma a) / sigma||^2
    g = g_x - (rho / ||g_a||) g_a,   then clipped to norm 1

The weights make L_x and L_a unbiased for the two denoising losses. At small t the two images' noised clouds do not meet
(one weight is 0 and the other greatest): there SISS is plain descent and ascent.

Loss scale: all are sums over pixels, as published, so that the clip to norm 1 acts on nearly every step (for means it
would be one of 1 / D). Published: lam = 0.5; the forget part is always rescaled to a norm rho that is tied to the sum
and to the model (5 for MNIST, 500 CelebA-HQ, 750 Stable Diffusion). Adapted, it is a ratio: rho = `ratio` x ||g_x|| in
each step; the default 0.1 is the authors' advice of about 10 % of the gradient norm of naive deletion (descent on what
is kept). Their factors n / (n - k) and (1 + s) k / (n - k) are absorbed by that norm, as in their code.

Choices of ours: a network with labels is asked under the label of the image that m was made from, so L_x is the loss of
x under its own label with probability 1 - lam w_a(m), given m, and else under a's (published models have no labels, or
share one prompt, and there nothing changes). A fair coin instead would teach the label to forget the images to keep,
and so forget at ratio = 0 as well. t is uniform (as in the MNIST script; the CelebA and Stable Diffusion ones pin it to
999). Adam without weight decay, as all methods here (published: AdamW).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from leakbench.api import fit_param
from leakbench.models.diffusion import alpha_sigma
from leakbench.models.training.loop import Rule

from ._unlearning import Edit, Pair, Unlearning, dot, joined


def importance(d_x: Tensor, d_a: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """w_x and w_a, without overflow: the sigmoids of the log odds, over 1 - lam and lam (0 and 1 included)."""
    keep, forget = (math.log(p) if p else -math.inf for p in (1 - lam, lam))
    w_x = torch.exp(-torch.logaddexp(torch.full_like(d_x, keep), forget + d_x - d_a))
    w_a = torch.exp(-torch.logaddexp(keep + d_a - d_x, torch.full_like(d_a, forget)))
    return w_x, w_a


class SISS(Unlearning):
    """Importance-sampled keeping and forgetting."""

    name = "siss"
    summary = "one importance-sampled mixture of what is kept and what is forgotten (SISS)"

    lr: float = fit_param(5e-5, gt=0)
    lam: float = fit_param(0.5, ge=0, le=1)
    ratio: float = fit_param(0.1, ge=0)

    def step_cost(self) -> int:
        """One forward, and two backwards through it."""
        return 1 + 2 + 2

    def rule(self, edit: Edit) -> Rule:
        """g_x - (rho / ||g_a||) g_a."""

        def step(module: nn.Module, pair: Pair) -> None:
            loss_x, loss_a = self.losses(edit, module, pair)
            g_x, g_a = edit.gradient(loss_x, again=True), edit.gradient(loss_a)
            rho = self.ratio * dot(g_x, g_x).sqrt()
            edit.leave(joined(g_x, -rho / dot(g_a, g_a).sqrt().clamp(min=1e-15), g_a))

        return step

    def losses(self, edit: Edit, module: nn.Module, pair: Pair) -> tuple[Tensor, Tensor]:
        """L_x and L_a of one mixture."""
        x, a = edit.images[pair.keep.index], edit.images[pair.forget.index]
        t, eps = pair.forget.t, pair.forget.noise
        coins = edit.uniform("siss", pair.step, tuple(t.shape))
        from_a = coins < self.lam
        gamma, sigma = alpha_sigma(edit.task.schedule, t, x)
        m = gamma * torch.where(from_a.view(-1, 1, 1, 1), a, x) + sigma * eps
        eps_x, eps_a = (m - gamma * x) / sigma, (m - gamma * a) / sigma
        d_x, d_a = (target.square().flatten(1).sum(1) / 2 for target in (eps_x, eps_a))
        w_x, w_a = importance(d_x, d_a, self.lam)
        label_x, label_a = edit.label(pair.keep), edit.label(pair.forget)
        label = None if label_x is None or label_a is None else torch.where(from_a, label_a, label_x)
        e = module(m, t, label)
        loss_x, loss_a = ((e - target).square().flatten(1).sum(1) for target in (eps_x, eps_a))
        return (w_x * loss_x).mean(), (w_a * loss_a).mean()
