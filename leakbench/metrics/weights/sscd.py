"""SSCD (Pizzi et al., CVPR 2022, 2202.10261): a descriptor of 512 numbers trained to know copies again.

The published TorchScript file is looked for on this machine and never downloaded: it is a program, so it has to come
from a place of the user's own. As its authors recommend, the shorter side is resized to 288 pixels (smaller images are
enlarged) and colours are normalised as for ImageNet. Choices of ours: bilinear with antialiasing, and grey images are
repeated to three channels. Far below 288 pixels nobody has validated it: the calibrated threshold is then the only one
that means anything.
"""

from __future__ import annotations

import os
from math import inf, nextafter
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.data.image_view import ImagesLike
from leakbench.metrics.features import TorchScript
from leakbench.metrics.weights.resources import SSCD as RESOURCE
from leakbench.metrics.weights.resources import at_hand, missing
from leakbench.runtime.device import in_batches

PUBLISHED = nextafter(0.5, inf)  # Somepalli et al. (2212.03860) call a cosine above 0.5 a copy
_SHORT = 288
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ROWS = 32  # images in a compute batch


class SSCD:
    """Images (N, C, H, W) in [-1, 1], grey or RGB -> (N, D), of length 1, on the images' device.

    Raises ValueError when the file is missing.
    """

    name = "sscd"

    def __init__(self, device: torch.device, weights: Path | None = None) -> None:
        path = weights or sscd_weights()
        if path is None:
            raise ValueError(missing(RESOURCE))
        self.network = TorchScript(path, device).network

    def __call__(self, images: ImagesLike) -> Tensor:
        with torch.no_grad():
            return in_batches(self.at_once, images, size=_ROWS)

    def at_once(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(_fitted(images)).float()
        return features


def sscd_weights() -> Path | None:
    """The file that $LEAKBENCH_SSCD names, or the published one in `weights_folder()`; None when it is not there."""
    named = os.environ.get("LEAKBENCH_SSCD")
    if not named:
        return at_hand(RESOURCE)
    return Path(named) if Path(named).is_file() else None


def _fitted(images: Tensor) -> Tensor:
    """Three channels, 288 pixels on the shorter side, normalised."""
    shortest = min(images.shape[-2:])
    size = [round(side * _SHORT / shortest) for side in images.shape[-2:]]
    colour = F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True).expand(
        -1, 3, -1, -1
    )
    mean, spread = (colour.new_tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
    return ((colour + 1) / 2 - mean) / spread
