"""Data augmentation: the network seldom sees the same pixels twice.

Pang et al. (GSA, 2308.06405) train with random flips and RandAugment (Cubuk et al., 1909.13719) as defenses: the AUC of
their attack falls to 0.874 under flips and to about 0.5 under RandAugment.

    flip         mirrored left to right in half of the draws
    crop         shifted by -shift .. shift pixels both ways, edge pixels repeated: a crop of the padded image
    flip+crop    both
    randaugment  two random operations of magnitude 9 (torchvision's defaults)

Choices of ours: every draw of a training image is a uniform draw among its versions, made in the same draw as the
image. For flips and crops these are all that there are. RandAugment chooses by torch's own generator and is slow, so
`views` versions of every image are made once, before training, from 8-bit images; more views are closer to fresh ones
in every step. The published measures do not say how far the augmented images count as what a model is meant to
produce; here nothing tells the network that an image is augmented, so it learns to produce such images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from leakbench.api import Artefacts, Task, fit_param
from leakbench.models.denoiser_training import train_denoiser
from leakbench.models.training.gradients import Batch
from leakbench.runtime.device import seeded

from .baseline import Baseline


class Augment(Baseline):
    """The baseline on augmented images."""

    name = "augment"
    summary = "plain training on flipped, shifted or randomly augmented images"
    role = "defense"
    changes = "data"

    kind: Literal["flip", "crop", "flip+crop", "randaugment"] = fit_param("flip+crop")
    shift: int = fit_param(1, ge=1, le=64)  # pixels, of a crop
    views: int = fit_param(16, ge=1, le=1024)  # versions of each image, of RandAugment

    @property
    def versions(self) -> int:
        """Number of versions of an image."""
        shifts = (2 * self.shift + 1) ** 2
        return {"flip": 2, "crop": shifts, "flip+crop": 2 * shifts, "randaugment": self.views}[self.kind]

    def fit(self, task: Task) -> Artefacts:
        """Train on the versions."""
        began = time.perf_counter()
        drawn, prepared = self.drawing(task), time.perf_counter() - began
        made = train_denoiser(task, self.recipe, self.name, drawn=drawn, versions=self.versions)
        return replace(made, info=made.info | {"train_seconds": made.info["train_seconds"] + prepared})

    def drawing(self, task: Task) -> Callable[[Batch], Tensor]:
        """A function of a batch whose index is image * versions + version: the versions (B, C, H, W)."""
        if self.kind == "randaugment":
            bank = randaugmented(task, self.views).to(task.device)
            return lambda batch: bank[batch.index].float() / 127.5 - 1.0
        images = task.images.to(task.device)

        def drawn(batch: Batch) -> Tensor:
            x, version = images[batch.index // self.versions], batch.index % self.versions
            if self.kind != "crop":
                x = torch.where((version % 2 == 1).view(-1, 1, 1, 1), x.flip(-1), x)
                version = version // 2
            return x if self.kind == "flip" else shifted(x, version, self.shift)

        return drawn


def mirrored(task: Task, flip: bool) -> dict[str, Any]:
    """Arguments of `train_denoiser` that make other recipes train on mirror images as well; none without `flip`."""
    both = Augment(kind="flip")
    return {"drawn": both.drawing(task), "versions": both.versions} if flip else {}


def shifted(x: Tensor, version: Tensor, most: int) -> Tensor:
    """Images (B, C, H, W) shifted by the version's (B,) of the (2 most + 1)^2 pairs of shifts, edges repeated."""
    height, width = x.shape[-2:]
    down, right = version // (2 * most + 1) - most, version % (2 * most + 1) - most
    rows = (torch.arange(height, device=x.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) - right[:, None]).clamp(0, width - 1)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x.movedim(1, -1)[image, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def randaugmented(task: Task, views: int) -> Tensor:
    """`views` random versions of every image, 8 bits: (N * views, C, H, W), on the CPU; seeded by its number."""
    from torchvision.transforms.v2 import RandAugment

    augment, stream = RandAugment(), task.streams.of("views", Augment.name)
    made = []
    for number in range(len(task.images)):
        image = ((task.images[number].cpu() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        with seeded(stream, number):
            made += [augment(image) for _ in range(views)]
    return torch.stack(made)
