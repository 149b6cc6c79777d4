"""Nearest copy: how many samples lie closer to a training image than held-out real images do.

The similarity of two images is, by `by`:
- pixels: minus the root mean square difference, on [-1, 1].
- features: the cosine in the suite's features (CPSample, 2409.07025, counts cosines above a fixed cut-off; its
  embedding is unknown).
- lpips: minus LPIPS (Zhang et al. 1801.03924).
- sscd: the cosine of SSCD descriptors (Somepalli et al., CVPR 2023, 2212.03860, who report the share above 0.5: that
  threshold stands beside the calibrated one).

The threshold is calibrated by the harness on held-out real images, whose own rate above it is published beside the
samples' (attacks' reference, section 2.8). lpips and sscd need files that nothing here downloads: without them the
attack is not applicable and the record says which is missing (`leakbench doctor` says where they go).
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from leakbench.api import AuditSetting, ReplicationAttack, Skip, release_param
from leakbench.data.image_view import ImagesLike
from leakbench.data.neighbours import Matches
from leakbench.metrics.copying import feature_similarity, pixel_similarity
from leakbench.metrics.weights.perceptual import alexnet_weights
from leakbench.metrics.weights.sscd import PUBLISHED, SSCD, sscd_weights

from ._lpips import lpips_similarity


class NearestCopy(ReplicationAttack):
    """Nearest training image of every sample, by pixels, features, LPIPS or SSCD."""

    name = "nearest_copy"
    summary = "nearest training image of every sample, by pixels, features, LPIPS or SSCD"

    by: Literal["pixels", "features", "lpips", "sscd"] = release_param("pixels")
    cutoff: float | None = release_param(None)

    @property
    def published(self) -> float | None:
        """`cutoff` where it is given, else above 0.5 for SSCD; the papers fix none for the others, or not the embedding
        that it belongs to."""
        return PUBLISHED if self.cutoff is None and self.by == "sscd" else self.cutoff

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Skip where the weights of LPIPS or SSCD are not on this machine."""
        needed = {"lpips": alexnet_weights, "sscd": sscd_weights}
        if self.by not in needed or needed[self.by]() is not None:
            return None
        return Skip(f"the weights of {self.by} are not on this machine", "not-applicable", (f"{self.by}-missing",))

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """Exact nearest neighbours. Raises ValueError where weights are missing."""
        if self.by == "pixels":
            return pixel_similarity(queries, train)
        if self.by == "lpips":
            return lpips_similarity(queries, train)
        descriptor = SSCD(queries.device) if self.by == "sscd" else embed
        return feature_similarity(descriptor(queries), descriptor(train))

    def space(self, features: str) -> str:
        """Space of the similarity; the suite's features by their name."""
        return features if self.by == "features" else self.by
