"""One step of differentially private training: who takes part, what is drawn for them, and the noisy gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from leakbench.api import Task
from leakbench.data.image_view import ImageView
from leakbench.models.denoiser_training import errors
from leakbench.runtime.device import RngStream, autocast

from ._canary_gradients import CanaryGradients, Step
from ._clipping import clipped_sum
from ._groups import Slots, known_groups


@dataclass(frozen=True)
class Mechanism:
    """The noisy steps on a task: what is drawn, and the gradient that is followed. noise: sigma, 0 for none.

    stage: how many noisy trainings lie below; own: whose this is, in words. No two noisy trainings share coins or z:
    from two answers with one z in them, whoever knows both multipliers takes it out again. whole: the task's groups,
    whose images lie side by side, have a coin each, and the mean gradient of a group is clipped; else each image has.
    most: images of a group, where the task has been left with so many.
    """

    task: Task
    rate: float
    draws: int
    clip: float
    noise: float
    poisson: bool
    stage: int
    own: str = ""
    whole: bool = False
    most: int | None = None

    @cached_property
    def images(self) -> ImageView:
        """The training images (N, C, H, W)."""
        return self.task.images.to(self.task.device)

    @cached_property
    def labels(self) -> Tensor | None:
        """Labels (N,) that the network is conditioned on, or None."""
        found = self.task.conditions
        return None if found is None else found.to(self.task.device)

    @property
    def numbers(self) -> int:
        """About how many random numbers a step draws besides z."""
        return len(self.images) + math.ceil(self.rate * len(self.images)) * self.draws * math.prod(
            self.task.network.shape
        )

    @property
    def expected(self) -> float:
        """B, the batch to be expected, of images or of whole groups."""
        return self.rate * self.units

    @cached_property
    def groups(self) -> Tensor:
        """The group of each image (N,), numbered from 0."""
        return known_groups(self.task).to(self.task.device)

    @cached_property
    def units(self) -> int:
        """The number of images, or of whole groups, that have a coin."""
        return int(self.groups.max()) + 1 if self.whole else len(self.images)

    def stream(self, purpose: str) -> RngStream:
        """Random numbers by step."""
        return self.task.streams.of(purpose, "dp_sgd", self.stage, self.own, self.rate, self.clip, self.noise)

    def sampled(self, steps: Tensor) -> list[Tensor]:
        """The numbers of the images that take part in each step."""
        count, stream = self.units, self.stream("sampling")
        if not self.poisson:
            return list(stream.integers(steps, count, (round(self.expected),)))
        taken = stream.uniform(steps, (count,)) < self.rate
        if self.whole:
            taken = taken[:, self.groups]
        return list(taken.nonzero()[:, 1].split(taken.sum(dim=1).tolist()))

    def steps(self, first: int, last: int) -> Sequence[Step]:
        """The draws of steps first .. last - 1."""
        numbers = torch.arange(first, last, device=self.task.device)
        sampled = self.sampled(numbers)
        rows, stream = max(1, *(self.draws * len(index) for index in sampled)), self.stream("draws")
        t = stream.integers(numbers, self.task.schedule.T, (rows,), draw=0)
        noise = stream.normal(numbers, (rows, *self.task.network.shape), draw=1)
        return [
            Step(
                number,
                index,
                t[i, : self.draws * len(index)],
                noise[i, : self.draws * len(index)],
                self.groups[index] if self.whole else None,
            )
            for i, (number, index) in enumerate(zip(range(first, last), sampled, strict=True))
        ]

    def losses(self, module: nn.Module, step: Step, piece: slice) -> Tensor:
        """The loss (B * K,) of each draw of a piece of a step's images."""
        rows = slice(piece.start * self.draws, piece.stop * self.draws)
        return self._losses(module, step.index[piece], step.t[rows], step.noise[rows])

    def group_losses(self, module: nn.Module, step: Step, slots: Slots, piece: slice) -> Tensor:
        """The loss (G * S * K,) of each draw in each slot of a piece of a step's groups, times the slot's weight."""
        place = slots.place[piece].flatten()
        rows = (place[:, None] * self.draws + torch.arange(self.draws, device=place.device)).flatten()
        found = self._losses(module, step.index[place], step.t[rows], step.noise[rows])
        return found * slots.weight[piece].flatten().repeat_interleave(self.draws)

    def _losses(self, module: nn.Module, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The losses (B * K,) of images by number (B,)."""
        index = images.repeat_interleave(self.draws)
        label = None if self.labels is None else self.labels[index]
        with autocast(self.task.device):
            return errors(module, self.task.schedule, self.images[index], t, noise, label)

    def rule(self, module: nn.Module, step: Step) -> None:
        """Leave the noisy mean of clipped gradients in .grad."""
        real = step if self.canaries is None else self.canaries.leave_out(step, self.draws)
        if real.group is None:
            clipped_sum(module, lambda piece: self.losses(module, real, piece), len(real.index), self.draws, self.clip)
        else:
            slots = Slots.of(real.group)
            groups, most = slots.shape
            losses = partial(self.group_losses, module, real, slots)
            clipped_sum(module, losses, groups, most * self.draws, self.clip, images_each=most)
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if self.canaries is not None:
            self.canaries.add(gradients, step.index)
        if self.noise:
            torch._foreach_add_(gradients, self.z(gradients, step.number), alpha=self.noise * self.clip)
        if self.canaries is not None:
            self.canaries.watch(gradients)
        torch._foreach_div_(gradients, self.expected)

    @cached_property
    def canaries(self) -> CanaryGradients | None:
        """Canaries of an audit; None in all other trainings."""
        given, device = self.task.gradient_canaries, self.task.device
        if given is None:
            return None
        sizes = given.sizes if self.most is None else given.sizes.clamp(max=self.most)
        return CanaryGradients(
            *(given.number.to(device), given.count, self.rate, self.clip, self.noise, sizes.to(device), self.whole)
        )

    def z(self, like: Sequence[Tensor], number: int) -> list[Tensor]:
        """The standard normal noise of a step, in the shapes of some tensors."""
        # Consecutive seeds, because torch's CPU generator reads 32 bits of one: hashed ones would meet now and then.
        high, low = self.stream("z").key
        generator = torch.Generator(self.task.device).manual_seed((high >> 1 << 32) + low + number)
        flat = torch.randn(sum(one.numel() for one in like), generator=generator, device=self.task.device)
        parts = flat.split([one.numel() for one in like])
        return [part.view(one.shape) for part, one in zip(parts, like, strict=True)]
