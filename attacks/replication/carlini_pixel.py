"""Carlini et al. on pixels: a sample is a copy if it lies closer to a training image than its surroundings explain.

Carlini et al. 2023 (2301.13188), unconditional models on CIFAR-10:

    r(xhat, x) = l2(xhat, x) / (alpha * mean of l2(xhat, y) over the 50 training images y nearest to xhat)

l2 is the root mean square difference, alpha = 0.5, and a sample with r < 1 is a copy. The similarity is -r. The paper's
threshold is reported beside the calibrated one, each with its null on held-out real images. AMG's nL2 is the same
quantity at another threshold (1.4).

Choice of ours: the nearest training image is one of the 50.
"""

from collections.abc import Callable

from torch import Tensor

from leakbench.api import Needs, ReplicationAttack, release_param
from leakbench.data.image_view import ImagesLike
from leakbench.data.neighbours import Matches

from ._relative import PUBLISHED, relative_similarity


class CarliniPixel(ReplicationAttack):
    """Distance to the nearest training image over that to the 50 nearest."""

    name = "carlini_pixel"
    summary = "pixel distance to the nearest training image, relative to the 50 nearest (Carlini et al.)"

    alpha: float = release_param(0.5, gt=0)
    neighbours: int = release_param(50, ge=2)

    @property
    def published(self) -> float:
        """r < 1."""
        return PUBLISHED

    @property
    def needs(self) -> Needs:
        """As many training images as neighbours."""
        return Needs(neighbours=self.neighbours)

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """-r, in pixels."""
        return relative_similarity(queries, train, self.alpha, self.neighbours)

    def space(self, features: str) -> str:
        """pixels."""
        return "pixels"
