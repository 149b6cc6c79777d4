"""Mean of several variations of an image, which two attacks share."""

import torch
from torch import Tensor

from leakbench.api.views import ApiView


def mean_variation(view: ApiView, images: Tensor, strength: float, draws: int) -> Tensor:
    """The mean (N, C, H, W) of `draws` variations of images (N, C, H, W), each with noise of its own."""
    return torch.stack([view.vary(images, strength, draw) for draw in range(draws)]).mean(dim=0)
