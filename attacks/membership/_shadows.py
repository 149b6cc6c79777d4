"""Losses of the same images, with the same noise, in every shadow model of a view."""

import torch
from torch import Tensor

from leakbench.api import AuxiliaryModel
from leakbench.api.views import DenoiserView

from ._shared import losses


def shadow_losses(view: DenoiserView, needs: tuple[AuxiliaryModel, ...], t: int, draws: int) -> tuple[Tensor, Tensor]:
    """Denoising losses (N, K) of the view's images in each of K shadow models, and whether each was trained on them,
    bool (N, K). The answers are remembered: attacks with the same t and draws share them."""
    shadows = [view.others[need.name] for need in needs]
    found = torch.stack([losses(shadow.view, t, draws) for shadow in shadows], dim=1)
    return found, torch.stack([shadow.is_member for shadow in shadows], dim=1)
