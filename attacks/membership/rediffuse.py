"""ReDiffuse: the mean of several variations of a member is the member again.

Li et al., ICML 2025 (2405.20771), unsupervised: a hosted model noises the image to t and walks back,

    xhat = (1/n) sum_j V_j(x, t),   S(x) = -D(x, xhat)

n = 10 and t = 200 of 1,000 (strength 0.2) as for their DDIM; D is the L2 distance, or 1 - SSIM as for their Stable
Diffusion (S is then SSIM, minus a constant). Choices of ours: the walk back is the service's own, with its own steps
(theirs has a stride of 100), since a hosted model does not let one choose; SSIM as in _similarity.py.
The supervised form, which the paper's tables use for DDIM, is rediffuse_nn.
"""

from typing import Literal

from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import ApiView

from ._similarity import ssim
from ._variation import mean_variation


class ReDiffuse(MembershipAttack):
    """Distance to the mean variation; `draws` variations an image, each a partial sampling walk."""

    name = "rediffuse"
    summary = "distance to the mean of variations of the image (ReDiffuse)"
    access = Access.API
    averages_answers = True

    strength: float = release_param(0.2, gt=0, le=1)
    draws: int = release_param(10, ge=1)
    distance: Literal["l2", "ssim"] = release_param("l2")

    @property
    def needs(self) -> Needs:
        """Variations by the service."""
        return Needs(requests=("vary",))

    def score(self, view: ApiView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the distance, (N,)."""
        mean = mean_variation(view, images, self.strength, self.draws)
        if self.distance == "ssim":
            return ssim(images, mean) - 1
        return -(images - mean).flatten(1).norm(dim=1)
