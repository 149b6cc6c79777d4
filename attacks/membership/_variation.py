"""What the two attacks on image variation share: the mean of several variations."""

import torch
from torch import Tensor

from leakbench.api.views import ApiView


def mean_variation(view: ApiView, images: Tensor, strength: float, draws: int) -> Tensor:
    """The mean (N, C, H, W) of `draws` variations of images (N, C, H, W), each with noise of its own."""
    return torch.stack([view.vary(images, strength, draw) for draw in range(draws)]).mean(dim=0)
