"""ESD: negative guidance, distilled into the weights (Erasing Concepts, 2303.07345, ICCV 2023).

    fit eps_theta(x_t | c_f)  to  e_0 - eta (e_p - e_0)

e_p is the frozen base's answer for the label to forget, e_0 its answer without a label. x_t are states of the model's
own sampling walk under c_f at a random t: no image is read, so the base's claims survive.

Loss scale: mean over pixels, as published; eta = 1 does not depend on it. Published for text-to-image models: 1,000
iterations at lr 1e-5 on one latent each, walks of 50 steps guided at 3.

Of a given model of captions the label to forget is a caption's number, and e_0 the answer to no caption, as published.
Choices of ours, since a label-conditional network has no answer without a label: e_0 is the base's answer for another
label, drawn uniformly for each row, so that the regression's target is in expectation the mean over the other labels;
the walk is not guided. `train` is "all" weights, or those by which alone the condition enters: of a "label" its
embedding, of a caption the cross-attention (published: all, the cross-attention or the rest). With "label" the answers
for the other labels keep their bits, not those for other captions; with "all" nothing holds them in
place, as is published. The walk has `walk` steps, evenly spaced, shifted as a whole by a random amount in each training
step so that every t is met; rows stop after 0 .. walk - 1 moves in equal numbers, which makes a walk's cost half of a
whole one's and the same in each step.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.api import AuditSetting, Cost, Skip, fit_param
from leakbench.models.diffusion import ddim_step, full_timesteps
from leakbench.models.pretrained.prediction import nowhere
from leakbench.models.training.loop import Rule
from leakbench.runtime.errors import UsageError

from ._unlearning import Edit, Pair, Unlearning


class ESD(Unlearning):
    """Negative guidance from the frozen base."""

    name = "esd"
    summary = "distils guidance away from the label to forget into the weights (ESD); reads no image"
    labels_only = True
    reads_members = False

    lr: float = fit_param(1e-5, gt=0)
    eta: float = fit_param(1.0, ge=0)
    walk: int = fit_param(10, ge=1)
    train: Literal["all", "label"] = fit_param("all")

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a walk that is longer than the batch or the schedule."""
        if self.walk > min(self.batch, setting.timesteps):
            return Skip(
                f"walk = {self.walk} is to be at most batch = {self.batch} and at most {setting.timesteps}, the "
                "timesteps"
            )
        return super().skip(setting)

    def step_cost(self) -> int:
        """A gradient and two answers of the frozen base. The walk is counted by `cost`."""
        return 3 + 2

    def cost(self) -> Cost:
        """Cost of all steps and of their walks."""
        return Cost(super().cost().training + self.steps * sum(self.moves()))

    def moves(self) -> list[int]:
        """Number of moves of the walk that each row of a batch makes, ascending."""
        return [row * self.walk // self.batch for row in range(self.batch)]

    def rule(self, edit: Edit) -> Rule:
        """The gradient of the distance to the target, in what is trained."""
        entrance = {id(p) for part in _entrances(edit.network) for p in part.parameters()}
        trained = [self.train == "all" or id(p) in entrance for p in edit.parameters]
        if not any(trained):
            raise UsageError('esd: train = "label": the network has no cross-attention; write train = "all"')

        def step(module: nn.Module, pair: Pair) -> None:
            label = edit.forgotten(pair.forget.t)
            x_t, t = self.states(edit, module, pair, label)
            loss = F.mse_loss(module(x_t, t, label), self.target(edit, x_t, t, label, pair.step))
            # A gradient of zero from the first step on leaves a weight its bits.
            edit.leave([g * kept for g, kept in zip(edit.gradient(loss), trained, strict=True)])

        return step

    @torch.no_grad()
    def target(self, edit: Edit, x_t: Tensor, t: Tensor, label: Tensor, step: int) -> Tensor:
        """e_0 - eta (e_p - e_0)."""
        assert edit.task.base is not None
        other = nowhere(t) if edit.task.base.knows_none else edit.other_labels(label, step)
        e_p, e_0 = edit.teacher(x_t, t, label), edit.teacher(x_t, t, other)
        moved: Tensor = e_0 - self.eta * (e_p - e_0)
        return moved

    @torch.no_grad()
    def states(self, edit: Edit, module: nn.Module, pair: Pair, label: Tensor) -> tuple[Tensor, Tensor]:
        """x_t (B, C, H, W) of the module's own walk, never clipped, and t (B,): row b has made moves()[b] moves from
        pure noise."""
        schedule, moves = edit.task.schedule, self.moves()
        gap = schedule.T // self.walk
        # On the CPU, whatever the device: the walk's timesteps are plain numbers, and nobody waits for the device.
        shift = int(edit.stream("esd shift").integers(torch.tensor([pair.step]), gap)[0])
        times = [place * schedule.T // self.walk + shift for place in reversed(range(self.walk))]
        x, first = pair.forget.noise.clone(), 0
        for done, (s, u) in enumerate(pairwise(times)):
            first = next(row for row in range(first, len(moves)) if moves[row] > done)
            rows = x[first:]
            x[first:] = ddim_step(schedule, rows, s, u, module(rows, full_timesteps(s, rows), label[first:]))
        return x, torch.tensor(times, device=x.device)[torch.tensor(moves, device=x.device)]


def _entrances(network: nn.Module) -> list[nn.Module]:
    """The parts by which alone a condition enters: cross-attention of captions, embeddings of labels."""
    if getattr(network, "texts", ()):
        return [part for name, part in network.named_modules() if name.endswith("attn2")]
    return [part for part in network.modules() if isinstance(part, nn.Embedding)]
