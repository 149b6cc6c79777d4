"""Carlini et al.'s relative distance (2301.13188): how close an image lies to the training set for where it lies."""

from __future__ import annotations

from math import inf, nextafter

import torch

from leakbench.data.image_view import FeatureRows, ImagesLike
from leakbench.data.neighbours import Matches, nearest

PUBLISHED = nextafter(-1.0, inf)  # similarity = -r, and the paper's rule is r < 1


def relative_similarity(queries: ImagesLike, train: ImagesLike, alpha: float, neighbours: int) -> Matches:
    """-r of queries (N, C, H, W) with training images (M, C, H, W), which is at most 0; 0 for an exact copy.

    The scale of the pixels cancels. Raises ValueError when there are fewer training images than neighbours.
    """
    found = nearest(FeatureRows(queries), FeatureRows(train), neighbours)
    closest, usual = found.distance[:, 0], alpha * found.distance.mean(dim=1)
    ratio = torch.where(usual > 0, closest / usual, 0.0)  # 0 / 0: all its neighbours are exact copies
    return Matches(found.index[:, 0].cpu().numpy(), -ratio.cpu().numpy())
