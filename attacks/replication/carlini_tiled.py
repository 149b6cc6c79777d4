"""Carlini et al. for larger images: close in every tile; and samples that repeat one another.

Carlini et al. 2023 (2301.13188), Stable Diffusion, pixels in [0, 1]: the distance of two images is the largest root
mean square difference over 4 x 4 tiles (128 x 128 pixels of 512), so that a shared background is no copy. A sample
within 0.15 of a training image is an extraction. Two generations of one prompt are linked if they are within d of each
other, and a clique of 10 or more says that the prompt's images are memorised, without looking at a training image.

Choices of ours. d = 0.1 (the paper's is unknown; LeakPro's default). All samples count as generations of one prompt. In
place of cliques, which are hard to find, linked groups (connected components, scipy) of 10 or more: every such clique
lies within one, and what a chain of look-alikes adds to them is seen in the null, as the same is asked of equally many
held-out real images. Tiles of sides that 4 does not divide differ by one pixel. The attack does not apply below 32 x 32
pixels: with tiles of 2 x 2, as on 8 x 8 digits, the distance is about that of the worst pixel, and 0.15 says nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.api import Needs, ReplicationAttack, release_param
from leakbench.data.image_view import FeatureRows, ImagesLike
from leakbench.data.neighbours import Matches, links, nearest

_LEAST = 32 * 32  # pixels


class CarliniTiled(ReplicationAttack):
    """The largest tile distance to a training image, and groups of samples that repeat one another."""

    name = "carlini_tiled"
    summary = "largest tile distance to a training image; groups of samples that repeat one another (Carlini et al.)"

    grid: int = release_param(4, ge=1)
    delta: float = release_param(0.15, gt=0)
    d: float = release_param(0.1, gt=0)
    clique: int = release_param(10, ge=2)

    @property
    def published(self) -> float:
        """Within delta."""
        return -self.delta

    @property
    def needs(self) -> Needs:
        """Images whose tiles are more than a few pixels."""
        return Needs(pixels=_LEAST)

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """Minus the tiled distance."""
        found = nearest(FeatureRows(queries, self._tiles), FeatureRows(train, self._tiles), parts=self.grid**2)
        return Matches(found.index[:, 0].cpu().numpy(), -found.distance[:, 0].cpu().numpy())

    def groups(self, images: ImagesLike) -> np.ndarray:
        """Linked groups of `clique` or more."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        one, other = links(FeatureRows(images, self._tiles), self.d, parts=self.grid**2).cpu().numpy().T
        graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(len(images), len(images)))
        _, group = connected_components(graph, directed=False)
        large = np.bincount(group)[group] >= self.clique
        return np.where(large, group.astype(np.int64), -1)

    def _tiles(self, images: Tensor) -> Tensor:
        """Rows (N, tiles * D) of which each of the equal runs of columns is a tile, scaled so that the Euclidean
        distance within it is a root mean square on [0, 1]; smaller tiles are filled up with zeros."""
        bands = [band for row in images.tensor_split(self.grid, dim=2) for band in row.tensor_split(self.grid, dim=3)]
        flat = [band.flatten(1).double() / (2 * band[0].numel() ** 0.5) for band in bands]
        widest = max(tile.shape[1] for tile in flat)
        return torch.cat([F.pad(tile, (0, widest - tile.shape[1])) for tile in flat], dim=1)

    def space(self, features: str) -> str:
        """pixels."""
        return "pixels"
