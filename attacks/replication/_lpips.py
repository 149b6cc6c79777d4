"""LPIPS as a distance between points: the nearest training image by LPIPS without comparing all pairs by the network.

LPIPS (Zhang et al. 1801.03924) sums, over five layers of AlexNet, the channel-weighted squared difference of features
that have length 1 at each pixel, as a mean over pixels. With each feature times sqrt(weight / pixels) it is the squared
Euclidean distance of two vectors, so the search is exact. Images are enlarged as in
leakbench.metrics.weights.perceptual.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike
from leakbench.data.neighbours import Matches, nearest
from leakbench.metrics.weights.perceptual import Lpips, enlarged, load_lpips
from leakbench.metrics.weights.resources import LPIPS, missing
from leakbench.runtime.device import in_batches

_ROWS = 32  # images in a compute batch
_NUMBERS = 2**27  # of the vectors of training images, or of queries, that are held at one time


def lpips_similarity(queries: ImagesLike, train: ImagesLike) -> Matches:
    """Minus LPIPS to the closest training image; 0 for an exact copy. Raises ValueError without AlexNet's weights."""
    lpips = load_lpips()
    if lpips is None:
        raise ValueError(missing(LPIPS))
    width = lpips_vectors(lpips, train[:1]).shape[1]
    rows = max(1, _NUMBERS // width)
    found = [_closest(lpips, queries[first : first + rows], train, rows) for first in range(0, len(queries), rows)]
    index, squared = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Matches(index.cpu().numpy(), -squared.cpu().numpy())


def lpips_vectors(lpips: Lpips, images: Tensor) -> Tensor:
    """Vectors (N, D) of images (N, C, H, W) in [-1, 1], whose squared Euclidean distances are LPIPS."""
    network: Any = lpips.network.to(images.device)

    def vectors(images: Tensor) -> Tensor:
        layers = zip(network.net(network.scaling_layer(enlarged(images))), network.lins, strict=True)
        return torch.cat([_weighted(features, lin.model[-1].weight) for features, lin in layers], dim=1)

    with torch.no_grad():
        return in_batches(vectors, images, size=_ROWS)


def _closest(lpips: Lpips, queries: Tensor, train: ImagesLike, rows: int) -> tuple[Tensor, Tensor]:
    """Index of the closest training image and the squared distance, of each query; ties go to the lowest index."""
    ours = lpips_vectors(lpips, queries)
    index = torch.zeros(len(ours), dtype=torch.int64, device=ours.device)
    best = torch.full((len(ours),), torch.inf, dtype=torch.float64, device=ours.device)
    for first in range(0, len(train), rows):
        found = nearest(ours, lpips_vectors(lpips, train[first : first + rows]))
        squared = found.distance[:, 0].square()
        index = torch.where(squared < best, found.index[:, 0] + first, index)
        best = torch.minimum(best, squared)
    return index, best


def _weighted(features: Tensor, weight: Tensor) -> Tensor:
    """One layer's part of the vectors: features (N, C, H, W), weight (1, C, 1, 1), zero or more."""
    length = features.square().sum(dim=1, keepdim=True).sqrt()
    pixels = features.shape[-2] * features.shape[-1]
    return (features / (length + 1e-10) * (weight / pixels).sqrt()).flatten(1)
