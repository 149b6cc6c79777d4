"""EraseDiff: unlearning as a constrained problem (2401.05779, CVPR 2025).

Keep the loss on what stays, subject to the loss on what goes being as low as K inner steps could make it:

    min_theta L_r(theta)   subject to   g(theta) = L_f(theta) - min_phi L_f(phi) <= 0
    delta = g_r + lambda g_f,   lambda = max(0, eta - <g_f, g_r> / |g_f|^2)

L_r is the denoising loss on images to keep. L_f is that on images to forget towards another target: `noise`, a uniform
number on (0, 1) a pixel, drawn apart from the Gaussian noise in x_t; or `other_label`, what the network itself answers
for the same x_t under another label (detached). phi^K is detached, so the gradient of g is g_f: in the closed form the
inner minimum moves nothing, and `inner = 0` gives the same weights for less (tests/defenses/test_erasediff.py). It is
computed nevertheless, as published, and costs what it costs; the gap g(theta) of the last step is in the record.

The published code differs from its paper, so its variants are named: `weighting = "fixed"` (its default, lambda =
`weight` = 0.1) and "cosine" (lambda = max(0, eta - cos(g_r, g_f)), normalised by both norms).

Choices of ours: inner steps use an Adam of their own that starts afresh at theta each time, and the outer Adam never
sees them (the published code restores theta but not the moments); other labels are drawn image by image (published:
one for the batch); K = 2 inner steps for each outer one, about the published ratio of 640 to 288; eta = 0.1 as in the
published code; `lr` is 1e-3 by default, ten times the published rate, for fewer images and smaller networks (the suite
erasediff_paper has the published one). Losses are means over pixels, as published.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.api import AuditSetting, Skip, fit_param
from leakbench.models.diffusion import add_noise
from leakbench.models.training.adam import Adam
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Rule

from ._unlearning import Edit, Pair, Unlearning, dot, joined


def multiplier(g_r: list[Tensor], g_f: list[Tensor], eta: float) -> Tensor:
    """lambda = max(0, eta - <g_f, g_r> / |g_f|^2): the least that gives <g_f, g_r + lambda g_f> >= eta |g_f|^2."""
    return (eta - dot(g_f, g_r) / dot(g_f, g_f).clamp(min=1e-30)).clamp(min=0.0)


def cosine_multiplier(g_r: list[Tensor], g_f: list[Tensor], eta: float) -> Tensor:
    """lambda = max(0, eta - cos(g_r, g_f)), as in the published code."""
    norms = dot(g_f, g_f).sqrt() * dot(g_r, g_r).sqrt()
    return (eta - dot(g_f, g_r) / norms.clamp(min=1e-30)).clamp(min=0.0)


class EraseDiff(Unlearning):
    """Forget under a constraint, by its closed-form multiplier."""

    name = "erasediff"
    summary = "constrained update: forget, at least cost to what stays (EraseDiff)"

    lr: float = fit_param(1e-3, gt=0)
    target: Literal["noise", "other_label"] = fit_param("noise")
    weighting: Literal["closed_form", "fixed", "cosine"] = fit_param("closed_form")
    eta: float = fit_param(0.1, ge=0)
    weight: float = fit_param(0.1, ge=0)
    inner: int = fit_param(2, ge=0)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse another label as the target of a network that has none."""
        if self.target == "other_label" and setting.condition != "label":
            return Skip('target = "other_label" needs a label-conditional network: write [network] condition = "label"')
        return super().skip(setting)

    def step_cost(self) -> int:
        """Two gradients, and a forward for a predicted target; K inner gradients, and a forward for their minimum."""
        predicted = int(self.target == "other_label")
        return 3 + 3 + predicted + (3 * self.inner + 1 if self.inner else 0)

    def rule(self, edit: Edit) -> Rule:
        """g_r + lambda g_f."""
        # One copy for all steps: to copy a module takes longer than to take its numbers over. Steps are in train mode.
        inner = copy.deepcopy(edit.network).train() if self.inner else None

        def step(module: nn.Module, pair: Pair) -> None:
            x_t, target = self._target(edit, module, pair)
            loss_f = self._forget_loss(edit, module, pair.forget, x_t, target)
            g_f, g_r = edit.gradient(loss_f), edit.gradient(edit.errors(module, pair.keep).mean())
            lam = self.multiplier(g_r, g_f)
            edit.leave(joined(g_r, lam, g_f))
            edit.notes["multiplier"] = torch.as_tensor(lam)
            if inner is not None:
                _take_over(inner, module)
                least = self._inner_minimum(edit, inner, pair.forget, x_t, target)
                edit.notes["constraint_gap"] = loss_f.detach() - least

        return step

    def multiplier(self, g_r: list[Tensor], g_f: list[Tensor]) -> Tensor | float:
        """lambda of the chosen weighting."""
        if self.weighting == "fixed":
            return self.weight
        return (multiplier if self.weighting == "closed_form" else cosine_multiplier)(g_r, g_f, self.eta)

    def _target(self, edit: Edit, module: nn.Module, pair: Pair) -> tuple[Tensor, Tensor]:
        """x_t of the images to forget, and what their noise is to be taken for."""
        batch = pair.forget
        x_t = add_noise(edit.task.schedule, edit.images[batch.index], batch.t, batch.noise)
        if self.target == "noise":
            return x_t, edit.uniform("uniform target", pair.step, tuple(x_t.shape)).float()
        label = edit.label(batch)
        assert label is not None
        with torch.no_grad():
            return x_t, module(x_t, batch.t, edit.other_labels(label, pair.step))

    def _forget_loss(self, edit: Edit, module: nn.Module, batch: Batch, x_t: Tensor, target: Tensor) -> Tensor:
        answer = module(x_t, batch.t, edit.label(batch))
        return F.mse_loss(answer, target.to(answer.dtype))

    def _inner_minimum(self, edit: Edit, inner: nn.Module, batch: Batch, x_t: Tensor, target: Tensor) -> Tensor:
        """L_f after K steps of a fresh Adam, which moves the copy `inner` from where the network stands."""
        adam = Adam(inner.parameters(), lr=self.lr, fused=True)
        for _ in range(self.inner):
            adam.zero_grad()
            self._forget_loss(edit, inner, batch, x_t, target).backward()
            adam.step()
        with torch.no_grad():
            return self._forget_loss(edit, inner, batch, x_t, target)


def _take_over(copied: nn.Module, module: nn.Module) -> None:
    """Set the weights and buffers of a copy of a module to the module's."""
    with torch.no_grad():
        ours, theirs = (list[Tensor]([*one.parameters(), *one.buffers()]) for one in (copied, module))
        torch._foreach_copy_(ours, theirs)
