"""Inpainting: shown one half, the model completes a member with its own other half.

Carlini et al. 2023 (2301.13188, section on inpainting attacks) hide half of an image and compare completions with the
truth; degrade, restore and compare is also the recipe of DRC (2403.08487). As a score:

    S(x) = - mean over halves and draws of the mean squared error in the hidden half

Choices of ours: the four halves (left, right, top, bottom), each hidden in turn; the mean error, not that of the best
completion; the service's own walk, which holds what is known in place (ApiView.inpaint).
"""

import torch
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import ApiView


def halves(images: Tensor) -> list[Tensor]:
    """Masks (H, W), bool, of the left, right, top and bottom half of images (N, C, H, W)."""
    left = torch.zeros(images.shape[2:], dtype=torch.bool, device=images.device)
    top = left.clone()
    left[:, : left.shape[1] // 2] = True
    top[: top.shape[0] // 2] = True
    return [left, ~left, top, ~top]


class Inpainting(MembershipAttack):
    """Error of completed halves; four sampling walks an image and draw."""

    name = "inpainting"
    summary = "error of the model's completion of a hidden half"
    access = Access.API
    averages_answers = True

    draws: int = release_param(1, ge=1)

    @property
    def needs(self) -> Needs:
        """Completions by the service."""
        return Needs(requests=("inpaint",))

    def score(self, view: ApiView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean squared error in what was hidden, (N,)."""
        errors = []
        for mask in halves(images):
            for draw in range(self.draws):
                wrong = (view.inpaint(images, mask, draw) - images).square()
                errors.append((wrong * mask).flatten(1).sum(dim=1) / (mask.sum() * images.shape[1]))
        return -torch.stack(errors).mean(dim=0)
