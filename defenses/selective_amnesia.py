"""Selective Amnesia: forgetting by continual learning, from the model's own samples (2305.10120, NeurIPS 2023).

    min_theta  E_{x ~ q} L(x, c_f) + gamma E_{x ~ base} L(x, c) + lam sum_i F_i (theta_i - theta*_i)^2

q is uniform on [-1, 1]: images without content, labelled with what is to be forgotten. The second term replays what the
base itself samples for the other labels, the third holds the weights that matter for its samples (all labels) near the
base's, theta*. F is the diagonal of the empirical Fisher information as published: for each sample the loss summed over
all T timesteps, one noise draw each, its gradient squared, the mean over samples. No real image is read, so the base's
claims survive.

Loss scale: sums over pixels, as published, with gamma = 1 and lam = 10: the mean times the number of pixels D in every
place (F_sum is D^2 F_mean). So the clip of a step's gradient to norm 1 acts as published, on nearly every step; for
means it would be one of 1 / D. Published: 20,000 iterations, batch 128, lr 1e-4, 500 samples a label for both uses; the
Fisher pass then costs as much as the training.

Choices of ours: `samples` and `fisher_samples` (of them) a label, fewer because we train less; numbers of samples far
from those that quality is measured on. The Fisher pass sees samples in [-1, 1], as the network does everywhere (the
published one reads them from files and feeds [0, 1], which the network was not trained on). The published average of
the weights (0.9999) is left out, as in all methods here. Of the engine's draws it takes timesteps and noise: no index
of a real image is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from leakbench.api import AuditSetting, Cost, Release, Skip, Task, fit_param
from leakbench.models.denoiser_training import errors
from leakbench.models.training.loop import Rule
from leakbench.runtime.batch_sizes import filled_rows

from ._unlearning import Edit, Pair, Unlearning

_FIRST = 2**30  # number of the first sample: no evaluation draws so many


@dataclass(frozen=True)
class Samples:
    """Samples of the base for each label in turn: images (N, C, H, W), labels (N,)."""

    images: Tensor
    labels: Tensor


class SelectiveAmnesia(Unlearning):
    """Elastic weights and generative replay against noise for the label to forget."""

    name = "selective_amnesia"
    summary = (
        "learns noise for the label to forget, replays own samples of the rest (Selective Amnesia); reads no image"
    )
    labels_only = True
    fit_samples_base = True
    reads_members = False

    gamma: float = fit_param(1.0, ge=0)
    lam: float = fit_param(10.0, ge=0)
    samples: int = fit_param(50, ge=1)
    fisher_samples: int = fit_param(5, ge=1)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse more Fisher samples than samples."""
        if self.fisher_samples > self.samples:
            return Skip(f"fisher_samples = {self.fisher_samples} is to be at most samples = {self.samples}")
        return super().skip(setting)

    def cost(self) -> Cost:
        """Cost of all steps; --budget scales the samples as well."""
        return replace(super().cost(), budget_params=("steps", "samples"))

    def step_cost(self) -> int:
        """Two gradients; the penalty needs no network."""
        return 3 + 3

    def first_cost(self, task: Task) -> int:
        """Sampling (with what fills compute batches), and a gradient at all timesteps of each Fisher sample."""
        assert task.base is not None
        labels = task.network.conditions
        drawn = filled_rows(self.samples * labels, task.base.batch)
        walks = round(drawn * task.base.schedule.steps * task.base.network_calls)
        return walks + 3 * task.schedule.T * self.fisher_samples * labels

    def rule(self, edit: Edit) -> Rule:
        """The gradients of the three terms."""
        assert edit.task.base is not None
        drawn = self.draw(edit.task.base, edit.task)
        fisher = self.fisher(edit, drawn)
        star = [p.detach().clone() for p in edit.parameters]
        others = Samples(*(values[drawn.labels != edit.task.forget_label] for values in (drawn.images, drawn.labels)))

        def step(module: nn.Module, pair: Pair) -> None:
            loss = self.amnesia(edit, module, pair) + self.gamma * self.replay(edit, module, pair, others)
            pull = 2 * self.lam  # the penalty's gradient is 2 lam F (theta - theta*)
            rows = zip(edit.gradient(edit.pixels * loss), fisher, edit.parameters, star, strict=True)
            edit.leave([g + pull * f * (p.detach() - s) for g, f, p, s in rows])

        return step

    def draw(self, base: Release, task: Task) -> Samples:
        """`samples` of each label, the labels in turn."""
        labels = torch.arange(task.network.conditions).repeat(self.samples)
        images = base.sample(len(labels), labels, first=_FIRST)
        return Samples(images.to(task.device), labels.to(task.device))

    def fisher(self, edit: Edit, drawn: Samples) -> list[Tensor]:
        """F at the base's weights, from the first `fisher_samples` of each label."""
        count = self.fisher_samples * edit.task.network.conditions
        total = [torch.zeros_like(p) for p in edit.parameters]
        for number in range(count):
            gradient = self._gradient_over_time(edit, drawn, number)
            torch._foreach_add_(total, [g.square() / count for g in gradient])
        return total

    def _gradient_over_time(self, edit: Edit, drawn: Samples, number: int) -> list[Tensor]:
        """Gradient of one sample's loss (sum over pixels), summed over all timesteps."""
        assert edit.task.base is not None
        schedule, total = edit.task.schedule, [torch.zeros_like(p) for p in edit.parameters]
        for t in torch.arange(schedule.T, device=edit.task.device).split(edit.task.base.batch):
            noise = edit.stream("fisher").normal(number * schedule.T + t, edit.task.network.shape)
            x0, label = (values[number].expand(len(t), *values.shape[1:]) for values in (drawn.images, drawn.labels))
            loss = edit.pixels * errors(edit.network, schedule, x0, t, noise, label).sum()
            torch._foreach_add_(total, edit.gradient(loss))
        return total

    def amnesia(self, edit: Edit, module: nn.Module, pair: Pair) -> Tensor:
        """The loss (mean over pixels) on images of uniform noise under the label to forget."""
        t, noise = pair.forget.t, pair.forget.noise
        x0 = 2 * edit.uniform("amnesia", pair.step, tuple(noise.shape)).float() - 1
        label = edit.forgotten(t)
        return errors(module, edit.task.schedule, x0, t, noise, label).mean()

    def replay(self, edit: Edit, module: nn.Module, pair: Pair, others: Samples) -> Tensor:
        """The loss (mean over pixels) on what the base sampled for the other labels."""
        index = edit.integers("replay", pair.step, len(others.labels), (len(pair.keep.t),))
        x0, label = others.images[index], others.labels[index]
        return errors(module, edit.task.schedule, x0, pair.keep.t, pair.keep.noise, label).mean()
