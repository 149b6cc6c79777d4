"""One-run audit: the denoising loss tells which canaries were included.

Steinke, Nasr and Jagielski, NeurIPS 2023 (2305.08846), section 4: in a single training every canary is included by a
fair coin of its own; the attacker scores all of them and guesses the coins of those it is surest of. Score:

    S(x) = -(1 / (n k)) sum_t sum_j || eps_j - eps_theta(x_t(eps_j), t) ||^2,   k timesteps, n draws

the loss that was trained on, averaged over noise. With noise multiplicity (Dockhorn et al. 2210.09929) the gradient
that DP-SGD clips is that of a loss averaged over draws, and this is the average that an image's own gradients lowered.

Choices of ours: the canaries are ordinary images, not made to be remembered (`canary_outlier`, `canary_mislabelled`,
`canary_gradient`), so that the bound says what these images lost, and others may have lost more; the timesteps are few
and early, where members stand out, and carry no weights (t = 20, 50, 100, 200 were chosen among five such sets on
digits at seed 7, which is not reported); half of the coins are guessed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from leakbench.api import Access, AuditingAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ..membership._shared import mean_losses


class CanaryOneRun(AuditingAttack):
    """Denoising loss of canaries; `draws` network calls an image and timestep."""

    name = "canary_one_run"
    summary = "one-run audit: the loss of images that were included by fair coins gives a lower bound of epsilon"
    access = Access.DENOISER

    t: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] = release_param((20, 50, 100, 200), min_length=1)
    draws: int = release_param(8, ge=1)

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(self.t))

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean loss."""
        return -mean_losses(view, self.t, self.draws)
