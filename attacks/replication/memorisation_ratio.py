"""Memorisation ratio: a memorised sample is far closer to one training image than to any other.

Yoon et al. 2023; Gu et al. 2310.02664: a sample is a copy if d1 / d2 < 1/3, where d1 and d2 are its l2 distances in
pixels to the nearest and to the second nearest training image. The similarity is -d1 / d2, near-duplicates passed over
(leakbench.metrics.copying says how): within a root mean square difference of 0.1, pixels in [-1, 1] (a choice of ours;
on data of low contrast take the radius that the run's near_duplicates.csv says). The papers' threshold is reported
beside the calibrated one, each with its null on held-out real images.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nextafter

from torch import Tensor

from leakbench.api import ReplicationAttack, release_param
from leakbench.data.image_view import ImagesLike
from leakbench.data.neighbours import Matches
from leakbench.metrics.copying import MEMORISED, ratio_similarity


class MemorisationRatio(ReplicationAttack):
    """Distance to the nearest training image over that to the next one that is no duplicate of it."""

    name = "memorisation_ratio"
    summary = "pixel distance to the nearest training image over that to the next different one (d1 / d2)"

    radius: float = release_param(0.1, ge=0)

    @property
    def published(self) -> float:
        """d1 / d2 < 1/3."""
        return nextafter(-MEMORISED, inf)

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """-d1 / d2, in pixels."""
        return ratio_similarity(queries, train, self.radius)

    def space(self, features: str) -> str:
        """pixels."""
        return "pixels"
