"""Images at rest, with what is known of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Images at rest: uint8 (N, H, W, C). labels, attribute: int64 (N,) or None.

    trait: a number an image, from which the sensitive attribute follows as "above the reference part's median".
    split: a word an image, one of PARTS, or "pool" to be drawn from; None: all pool.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None
    attribute: np.ndarray | None = None
    trait: np.ndarray | None = None
    split: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    @property
    def digest(self) -> str:
        """sha256 of all that it holds."""
        total = hashlib.sha256()
        for array in (self.images, self.labels, self.attribute, self.trait, self.split):
            total.update(
                b"none" if array is None else str(array.dtype).encode() + np.ascontiguousarray(array).tobytes()
            )
        return total.hexdigest()

    def tensors(self, index: np.ndarray) -> Tensor:
        """Images of these rows as float32 (N, C, H, W) in [-1, 1]."""
        import torch

        images = torch.from_numpy(np.ascontiguousarray(self.images[index])).permute(0, 3, 1, 2)
        return (images.float() / 127.5 - 1.0).contiguous()
