"""Membership on the forget set: are images that were to be forgotten still denoised better than never-seen ones?

The score is the loss attack's (Matsumoto et al. 2023, 2302.03262; Carlini et al. 2023, 2301.13188), for timesteps t_i
and draws of shared noise:

    S(x) = -mean_ij || eps_j - eps_theta(x_{t_i}(eps_j), t_i) ||^2

The code of SISS (2503.01034) measures the gap of such losses between the forget set and all data, at t = 200, 400, 600,
800 and 900 with 32 noises; where a class was forgotten, that gap also tells classes apart.

Choices of ours: compared are forget images and unseen images of the same class, both under their own label; the null
is the same statistic of the retrained model, which has seen neither; t = 50, 100, 200 and 300, the range in which
Carlini et al. found their optimum, fixed in advance; 8 draws.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from leakbench.api import Access, PairedScores, UnlearningAttack, UnlearningContext, UnlearningEvidence, release_param
from leakbench.api.views import DenoiserView

from ..membership._shared import mean_losses
from ._shared import scores


class ForgetMembership(UnlearningAttack):
    """Denoising loss of forget images against unseen ones; 32 network calls an image."""

    name = "forget_membership"
    summary = "denoising loss of forget images against unseen ones, beside the retrained model"
    access = Access.DENOISER

    t: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] = release_param((50, 100, 200, 300), min_length=1)
    draws: int = release_param(8, ge=1)

    def run(self, ground: UnlearningContext) -> UnlearningEvidence:
        """Minus the mean loss, by the release and by the retrained model."""

        def question(view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
            return -mean_losses(view, self.t, self.draws)

        ours, null = (scores(model, question, ground) for model in (ground.model, ground.retrained))
        return UnlearningEvidence({"forget": PairedScores(ours, null)})
