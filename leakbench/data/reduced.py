"""Smaller versions of large images, for methods whose work grows with the pixels and that need few of them."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.data.image_view import ImagesLike

MOST = 64  # pixels of the longer side that are left
_ELEMENTS = 2**23  # numbers of images that are held at one time


def reduced(images: Tensor) -> Tensor:
    """Images (N, C, H, W), halved (means of 2 x 2 pixels) until the longer side has at most 64; smaller ones as they
    are."""
    while max(images.shape[-2:]) > MOST and min(images.shape[-2:]) > 1:
        images = F.avg_pool2d(images, 2)
    return images


def reduce_large(images: ImagesLike) -> ImagesLike:
    """All of them reduced where they are large; else the images as they are."""
    return reduce_all(images) if max(images.shape[-2:]) > MOST else images


def reduce_all(images: ImagesLike) -> Tensor:
    """All of them reduced, (N, C, h, w) float32, on their device: a block of the large ones exists at a time."""
    return torch.cat([reduced(images[rows]) for rows in blocks(images)])


def count_rows(images: ImagesLike) -> int:
    """Number of images whose float32 pixels take 32 MiB at the most; one at the least."""
    return max(1, _ELEMENTS // prod(images.shape[1:]))


def blocks(images: ImagesLike) -> list[slice]:
    """Slices of images, one after the other, each of so many as `count_rows` answers."""
    size = count_rows(images)
    return [slice(start, min(start + size, len(images))) for start in range(0, len(images), size)]
