"""Nearest copy: how many samples lie closer to a training image than held-out real images do.

The similarity is minus the root mean square pixel distance, or the cosine in a feature space (CPSample, 2409.07025,
counts cosines above a fixed cut-off; its embedding is unknown). The threshold is calibrated by the harness on held-out
real images, whose own rate above it is published beside the samples' (attacks' reference, section 2.8).
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from leakbench.api import ReplicationAttack, sampling
from leakbench.copying import Matches, feature_similarity, pixel_similarity


class NearestCopy(ReplicationAttack):
    """Nearest training image of every sample, in pixel or in feature space."""

    name = "nearest_copy"
    summary = "nearest training image of every sample, in pixel or feature space"

    by: Literal["pixels", "features"] = sampling("pixels")

    def match(self, queries: Tensor, train: Tensor, embed: Callable[[Tensor], Tensor]) -> Matches:
        """Exact nearest neighbours."""
        if self.by == "pixels":
            return pixel_similarity(queries, train)
        return feature_similarity(embed(queries), embed(train))

    def space(self, features: str) -> str:
        """pixels, or the suite's features."""
        return "pixels" if self.by == "pixels" else features
