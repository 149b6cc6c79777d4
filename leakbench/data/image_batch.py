"""Attacked images with their numbers and labels; the pixels of one compute batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike, ImageView


@dataclass(frozen=True)
class Images:
    """Attacked images (N, C, H, W) with their row numbers in the data set and labels, all on one device.

    However many there are, only the pixels of the batch under attack exist: `images[index]` makes them.
    """

    images: ImagesLike
    ids: Tensor
    labels: Tensor | None

    @classmethod
    def concatenate(cls, parts: Sequence[Images]) -> Images:
        """One after the other; no pixel is made."""
        labels = [part.labels for part in parts if part.labels is not None]
        ids = torch.cat([part.ids for part in parts])
        return cls(ImageView.concatenate([part.images for part in parts]), ids, torch.cat(labels) if labels else None)

    def take(self, index: Tensor) -> Images:
        """Some of them, by position."""
        images = self.images.subset(index) if isinstance(self.images, ImageView) else self.images[index]
        return Images(images, self.ids[index], None if self.labels is None else self.labels[index])

    @property
    def batch(self) -> Batch:
        """The same with their pixels."""
        return Batch(self.images[:], self.ids, self.labels)


@dataclass(frozen=True)
class Batch:
    """The images of one compute batch (N, C, H, W), their row numbers and labels."""

    images: Tensor
    ids: Tensor
    labels: Tensor | None
