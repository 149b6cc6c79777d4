"""Relative fall of the loss from the base to its fine-tune, timestep by timestep.

See _calibrated.py. Score, with the loss L_t of `loss` at timestep t:

    S(x) = mean over t of (L_base,t(x) - L_target,t(x)) / L_base,t(x)

The loss of one timestep can be hundreds of times that of another, so that in a plain mean a few timesteps decide; here
each counts by the share of its loss that the fine-tuning took away. Ours: no paper has it.

Choices of ours: ten timesteps, 50 to 950, evenly; one draw of noise for each, the same for both models.
"""

import torch
from torch import Tensor

from leakbench.api import REFERENCE, Access, AuxiliaryModel, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._shared import losses

TIMESTEPS = tuple(range(50, 1000, 100))
_LEAST = 1e-12  # of a loss that is divided by


class CalibratedCurve(MembershipAttack):
    """Loss at each timestep under both models; 2 x 10 x `draws` network calls an image, half of them of the base."""

    name = "calibrated_curve"
    summary = "share of the loss that fine-tuning took away, mean over timesteps"
    access = Access.DENOISER

    draws: int = release_param(1, ge=1)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """The base."""
        return (REFERENCE,)

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(TIMESTEPS))

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean of the relative falls."""
        base = view.others[REFERENCE.name].view
        before, after = (torch.stack([losses(one, t, self.draws) for t in TIMESTEPS]) for one in (base, view))
        return ((before - after) / before.clamp(min=_LEAST)).mean(dim=0)
