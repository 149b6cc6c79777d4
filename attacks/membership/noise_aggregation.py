"""Small-noise aggregation: along a few denoising steps, the noise predicted for members stays together.

Li, Yu and Xu 2025 (2510.21783). Little noise is added in one step, x_t = sqrt(alpha_bar_t) x_0 + sigma eps; then k
predictions are read off a deterministic DDIM walk with stride m, E = {eps_t, eps_(t-m), .., eps_(t-(k-1)m)}, and

    C = 1/k^2 sum over i, j of || e_i - e_j ||^2   (eq. 15);   S(x) = -log(C + delta)   (eq. 19)

t = 80, k = 5, m = 10 and sigma = .1 as in the paper, which finds t between 50 and 150 to work well.

Choices of ours: sigma takes the place of sqrt(1 - alpha_bar_t), which is .27 at t = 80 (the paper calls .1 the standard
deviation of the injected noise, and does not say how it fits the schedule); eps is draw 0 of the noise that all attacks
share; delta = 1e-12. The distance is eq. 15, which the paper calls L2 average distance and takes by default.
"""

from itertools import pairwise

import torch
from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView
from leakbench.models.diffusion import ddim_step

DELTA = 1e-12


class NoiseAggregation(MembershipAttack):
    """Spread of the noise predictions along a short DDIM walk; `k` network calls an image."""

    name = "noise_aggregation"
    summary = "spread of the predicted noise along a few steps from little noise"
    access = Access.DENOISER

    t: int = release_param(80, ge=1, lt=1000)
    k: int = release_param(5, ge=2)
    m: int = release_param(10, ge=1, validate_default=True)
    sigma: float = release_param(0.1, ge=0)

    @field_validator("m")
    @classmethod
    def _reaches(cls, m: int, info: ValidationInfo) -> int:
        t, k = info.data.get("t"), info.data.get("k")
        if t is not None and k is not None and (k - 1) * m > t:
            most = {"most": t // (k - 1), "t": t, "k": k}
            raise PydanticCustomError("stride", "Input should be at most {most}: k = {k} steps start at t = {t}", most)
        return m

    @property
    def needs(self) -> Needs:
        """The timestep."""
        return Needs(latest=self.t)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the log of the mean squared distance between two predictions."""
        x = float(view.schedule.alpha_bar[self.t]) ** 0.5 * images + self.sigma * view.noise()
        answers = [view.eps(x, self.t)]
        for s, u in pairwise(range(self.t, self.t - self.k * self.m, -self.m)):
            x = ddim_step(view.schedule, x, s, u, answers[-1])
            answers.append(view.eps(x, u))
        together = torch.stack(answers)  # (k, N, C, H, W)
        # The mean squared distance of two out of k is twice their mean squared distance to the centre.
        spread = 2 * (together - together.mean(dim=0)).square().flatten(2).sum(dim=2).mean(dim=0)
        return -(spread + DELTA).log()
