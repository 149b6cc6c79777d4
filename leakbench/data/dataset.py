"""Images at rest, with what is known of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leakbench.data.mapped_pages import PageKeeper

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 64  # images that are read at one time while they are hashed


@dataclass(frozen=True)
class Dataset:
    """Images at rest: uint8 (N, H, W, C), an array or a memory map of a file, of which only what is asked for is read.

    labels, attribute: int64 (N,) or None.
    trait: a number an image, from which the sensitive attribute follows as "above the reference part's median".
    split: a word an image, one of PARTS, or "pool" to be drawn from; None: all pool.
    index: int64 (N,), an image's position in its publisher's order, which index files speak of; None: its row.
    pixels: sha256 of the images' bytes where that is known already, so that gigabytes are not hashed at every start.
    folder: where what is found out about the images can be kept, beside their file; None where they have none.
    skipped: names of image files that did not decode and were left out.
    precedence: int64 (N,): of near-duplicates the one with the lower number stays; None: the one with the lower row.
    group: int64 (N,), the number of the person, patient or scene that an image is of; None: each image is on its own.
    group_names: what each number stands for, by the number, for messages to the owner; None: the numbers are theirs.
    remarks: what was made of image files that are not as the images are here, in words.
    few: so few images that none are spared for calibration, and parts may be small.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None
    attribute: np.ndarray | None = None
    trait: np.ndarray | None = None
    split: np.ndarray | None = None
    index: np.ndarray | None = None
    pixels: str | None = None
    folder: Path | None = None
    skipped: tuple[str, ...] = ()
    precedence: np.ndarray | None = None
    group: np.ndarray | None = None
    remarks: tuple[str, ...] = ()
    group_names: tuple[str, ...] | None = None
    few: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """sha256 of all that it holds; the same wherever the images lie."""
        total = hashlib.sha256(f"{self.images.shape} {self.pixels or hash_images(self.images)}".encode())
        for array in (self.labels, self.attribute, self.trait, self.split, self.index, self.precedence):
            total.update(
                b"none" if array is None else str(array.dtype).encode() + np.ascontiguousarray(array).tobytes()
            )
        if self.group is not None:  # added later: without it, the digest is what it always was
            total.update(b"group" + self.group.astype(np.int64).tobytes())
        return total.hexdigest()

    def tensors(self, index: np.ndarray) -> Tensor:
        """Images of these rows as float32 (N, C, H, W) in [-1, 1]."""
        from leakbench.data.image_view import ImageView

        return ImageView(self.images)[index]


def hash_images(images: np.ndarray) -> str:
    """sha256 of the bytes of images (N, ...), read block by block."""
    total, pages = hashlib.sha256(), PageKeeper(images)
    for start in range(0, len(images), _BLOCK):
        block = np.ascontiguousarray(images[start : start + _BLOCK])
        total.update(block.data)
        pages.note(block.nbytes)
    return total.hexdigest()


PARTS = ("member", "calibration_in", "calibration_out", "nonmember", "reference")

DUPLICATE_SHARE = 0.15  # of the median distance of random pairs: near-duplicates are within it
