"""What counts as a near-duplicate: finding them, and groups of them (leakbench.data.near_duplicates says how)."""

from __future__ import annotations

import io
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.runtime.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from leakbench.data.image_view import ImagesLike

DUPLICATE_RADIUS = 0.1  # root mean square pixel difference, pixels in [-1, 1] (a choice of ours)


def drop_near_duplicates(data: Dataset) -> np.ndarray:
    """Which images to keep, bool (N,): greedily in order (of precedence, then of rows), one within
    DUPLICATE_RADIUS of a kept earlier one goes.

    Where the data set has a folder of its own, what was found is kept there.
    """
    from leakbench.data.image_view import ImageView
    from leakbench.data.near_duplicates import near_duplicates

    path = None if data.folder is None else data.folder / f"distinct-{DUPLICATE_RADIUS}.npy"
    if path is not None and path.is_file():
        return np.asarray(np.load(path))
    images = ImageView(data.images)
    order = np.arange(len(images)) if data.precedence is None else np.argsort(data.precedence, kind="stable")
    keep = np.empty(len(images), dtype=bool)
    keep[order] = near_duplicates(images.subset(order), _radius(images)).numpy()
    if path is not None:
        file = io.BytesIO()
        np.save(file, keep)
        write_atomically(path, file.getvalue())
    return keep


def near_duplicate_groups(images: ImagesLike) -> Tensor:
    """Group numbers (N,) int64 of images (N, C, H, W) in [-1, 1]: one within DUPLICATE_RADIUS of an earlier one or of
    its mirror image joins the nearest one's group."""
    import torch

    from leakbench.data.near_duplicates import Descriptions, nearest_earlier

    base = Descriptions.of(images)
    number, distance = nearest_earlier(base, base, _radius(images))
    other, turned = nearest_earlier(Descriptions.of(images, mirrored=True), base, _radius(images))
    nearer = (turned < distance) | ((turned == distance) & (other < number))
    number, distance = torch.where(nearer, other, number), torch.where(nearer, turned, distance)
    groups = torch.arange(len(images), device=number.device)
    for i in distance.isfinite().nonzero()[:, 0].tolist():  # few, and in order: earlier groups are final
        groups[i] = groups[number[i]]
    return groups


def _radius(images: ImagesLike) -> float:
    return DUPLICATE_RADIUS * prod(images.shape[1:]) ** 0.5
