"""What counts as a near-duplicate, and groups of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DUPLICATE_RADIUS = 0.1  # root mean square pixel difference, pixels in [-1, 1] (a choice of ours)
_BLOCK = 256  # rows of a distance matrix that are held at one time


def near_duplicate_groups(images: Tensor) -> Tensor:
    """Group numbers (N,) int64: an image within DUPLICATE_RADIUS of an earlier one or of its mirror image joins it."""
    import torch

    flat, mirrored = images.flatten(1).double(), images.flip(-1).flatten(1).double()
    radius = DUPLICATE_RADIUS * flat.shape[1] ** 0.5
    closest, distance = torch.zeros(len(images), dtype=torch.int64), torch.full((len(images),), torch.inf)
    for start in range(0, len(images), _BLOCK):
        rows = slice(start, start + _BLOCK)
        far = torch.minimum(torch.cdist(flat[rows], flat), torch.cdist(mirrored[rows], flat))
        later = torch.arange(len(images)) >= torch.arange(len(images))[rows, None]
        found = far.masked_fill(later, torch.inf).min(dim=1)
        closest[rows], distance[rows] = found.indices, found.values.float()
    groups = torch.arange(len(images))
    for i in (distance <= radius).nonzero()[:, 0].tolist():  # few, and in order: earlier groups are final
        groups[i] = groups[closest[i]]
    return groups
