"""GAN-Leaks: members lie close to some sample.

Chen et al., CCS 2020 (1909.03935), the full black-box attack and its calibration, in pixels:

    S(x) = -min_g || x - g ||_2;     calibrated: S(x) = mean_ref min_g' || x - g' ||_2 - min_g || x - g ||_2

over the release's samples g. Simple images lie close to everybody's samples; the reference models' distance takes that
out. Choices of ours: the references are shadow models, those that were not trained on the image (all of them for an
image that lies in all), each with as many samples as were drawn of the target; pixels in [-1, 1], no learned distance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leakbench.api import Access, AuxiliaryModel, MembershipAttack, release_param, shadow_models
from leakbench.api.views import SamplesView
from leakbench.data.neighbours import nearest


def distance(images: Tensor, samples: Tensor) -> Tensor:
    """Euclidean distance (N,), float64, of images (N, C, H, W) to the nearest of samples (M, C, H, W)."""
    return nearest(images.flatten(1), samples.flatten(1)).distance[:, 0]


class GANLeaks(MembershipAttack):
    """Distance to the nearest sample; no queries."""

    name = "gan_leaks"
    summary = "distance to the nearest sample (GAN-Leaks)"
    access = Access.SAMPLES

    calibrated: bool = release_param(False)
    shadows: int = release_param(16, ge=1)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """Reference models, if calibrated."""
        return shadow_models(self.shadows) if self.calibrated else ()

    def score(self, view: SamplesView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the distance, or by how much the reference models' is larger: float64 (N,)."""
        ours = distance(images, view.samples)
        if not self.calibrated:
            return -ours
        others = [view.others[need.name] for need in self.auxiliary_models()]
        theirs = torch.stack([distance(images, other.view.samples) for other in others])
        outside = ~torch.stack([other.is_member for other in others])
        outside |= ~outside.any(dim=0)  # an image that lies in every one
        return (theirs * outside).sum(dim=0) / outside.sum(dim=0) - ours
