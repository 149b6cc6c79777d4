"""Loss threshold: members are denoised better.

Matsumoto et al. 2023 (2302.03262); Carlini et al. 2023 (2301.13188). Score, for n draws of shared noise:

    S(x) = -(1/n) sum_j || eps_j - eps_theta(x_t(eps_j), t) ||^2

t = 100 as in Carlini et al.; fixed in advance, never tuned on reported images. The squared norm sums over pixels.
"""

from torch import Tensor

from leakbench.api import Access, MembershipAttack, sampling
from leakbench.views import DenoiserView


class Loss(MembershipAttack):
    """Denoising loss at one timestep, averaged over noise draws; `draws` network calls an image."""

    name = "loss"
    summary = "denoising loss at one timestep"
    access = Access.DENOISER

    t: int = sampling(100, ge=0, lt=1000)
    draws: int = sampling(1, ge=1)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean loss."""
        losses = [
            (view.eps(view.noised(self.t, draw), self.t) - view.noise(draw)).square().flatten(1).sum(dim=1)
            for draw in range(self.draws)
        ]
        return -sum(losses[1:], losses[0]) / self.draws
