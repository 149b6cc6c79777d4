"""Memorisation ratio: a memorised sample is far closer to one training image than to any other.

Yoon et al. 2023; Gu et al. 2310.02664: a sample is a copy if d1 / d2 < 1/3, where d1 and d2 are its l2 distances in
pixels to the nearest and to the second nearest training image. The similarity is -d1 / d2. The papers' threshold is
reported beside the calibrated one, each with its null on held-out real images.

Near-duplicates in the training set make d2 about d1 and so hide the images that are memorised most. Choices of ours:
d2 passes over training images within a duplicate radius of the nearest one (leakbench.data's radius, as a root mean
square on [-1, 1]; 0 passes over exact copies only); if no other is left, the ratio is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter, sqrt

import torch
from torch import Tensor

from leakbench.api import ReplicationAttack, sampling
from leakbench.copying import Matches
from leakbench.data import DUPLICATE_RADIUS
from leakbench.neighbours import nearest
from leakbench.pictures import ImagesLike, Rows

_FIRST, _MORE = 8, 4  # neighbours looked at, and how many times more wherever all of them are duplicates
_ELEMENTS = 2**23  # pixels of neighbours that are held at one time


class MemorisationRatio(ReplicationAttack):
    """Distance to the nearest training image over that to the next one that is no duplicate of it."""

    name = "memorisation_ratio"
    summary = "pixel distance to the nearest training image over that to the next different one (d1 / d2)"

    radius: float = sampling(DUPLICATE_RADIUS, ge=0)

    @property
    def published(self) -> float:
        """d1 / d2 < 1/3."""
        return nextafter(-1 / 3, inf)

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """-d1 / d2, in pixels."""
        index, ratio = self._of(Rows(queries), Rows(train))
        return Matches(index.cpu().numpy(), -ratio.cpu().numpy())

    def _of(self, queries: Rows, train: Rows) -> tuple[Tensor, Tensor]:
        """Index of the nearest training image, and the ratio, of each query (N, D)."""
        found = nearest(queries, train)
        index, first = found.index[:, 0], found.distance[:, 0]
        second = torch.full_like(first, inf)
        left, seen, k = torch.arange(len(queries), device=queries.device), 1, _FIRST
        while len(left) and seen < len(train):
            seen = min(k, len(train))
            rows = left.split(max(1, _ELEMENTS // (seen * train.shape[1])))
            second[left] = torch.cat([self._different(queries[part], train, seen) for part in rows])
            left, k = left[second[left].isinf()], k * _MORE
        return index, torch.where(first > 0, first / second, 0.0)

    def _different(self, queries: Tensor, train: Rows, k: int) -> Tensor:
        """Distance (N,) to the nearest training image that is no duplicate of the nearest; infinite if none of k is."""
        found = nearest(queries, train, k)
        closest, others = train[found.index[:, :1]].double(), train[found.index].double()
        apart = (others - closest).square().sum(dim=-1).sqrt() > self.radius * sqrt(train.shape[1])
        return found.distance.masked_fill(~apart, inf).amin(dim=1)

    def space(self, features: str) -> str:
        """pixels."""
        return "pixels"
