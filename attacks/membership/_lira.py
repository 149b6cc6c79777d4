"""Parts that the online and the offline likelihood ratio attack share: see lira_online.py."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, AuxiliaryModel, Calibration, MembershipAttack, Needs, release_param, shadow_models
from leakbench.api.views import DenoiserView

from ._gaussians import Pool, both_sides
from ._shadows import shadow_losses
from ._shared import losses

_ENOUGH = 64  # shadow models from which on an image's own variance is worth estimating


class LiRA(MembershipAttack):
    """Gaussians of the denoising loss over shadow models with and without the image."""

    access = Access.DENOISER
    learns_from = "shadows"

    t: int = release_param(100, ge=0, lt=1000)
    draws: int = release_param(4, ge=1)
    shadows: int = release_param(16, ge=2)
    variance: Literal["auto", "pooled", "per_image"] = release_param("auto")
    _pool: Any = PrivateAttr(default=None)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """The shadow models."""
        return shadow_models(self.shadows)

    @property
    def needs(self) -> Needs:
        """The timestep."""
        return Needs(latest=self.t)

    def fit(self, calibration: Calibration) -> LiRA:
        """Pool spreads over calibration images, from the shadow models alone: the target is not asked."""
        fitted = copy.copy(self)
        found = calibration.ask(self._in_shadows)
        fitted._pool = Pool.of(found[:, 0], found[:, 1] > 0)
        return fitted

    def _in_shadows(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Losses in the shadow models and their masks (N, 2, K)."""
        found, inside = shadow_losses(view, self.auxiliary_models(), self.t, self.draws)
        return torch.stack([found, inside.to(found.dtype)], dim=1)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The target's loss under the Gaussians, float64 (N,)."""
        phi = losses(view, self.t, self.draws).double()
        within, without = both_sides(*shadow_losses(view, self.auxiliary_models(), self.t, self.draws), self._pool)
        by_image = self.variance == "per_image" or (self.variance == "auto" and self.shadows >= _ENOUGH)
        std_in = within.std(self._pool.std_in, by_image)
        std_out = without.std(self._pool.std_out, by_image)
        return self.ratio((phi - within.mean) / std_in, std_in, (phi - without.mean) / std_out, std_out)

    def ratio(self, z_in: Tensor, std_in: Tensor, z_out: Tensor, std_out: Tensor) -> Tensor:
        """Scores (N,) from the standardised loss and the standard deviation under each hypothesis."""
        raise NotImplementedError
