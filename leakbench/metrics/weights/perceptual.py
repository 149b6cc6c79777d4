"""LPIPS (Zhang et al. 1801.03924): a learned perceptual distance, for diversity and for closeness to training images.

The `lpips` package brings its linear layers; the AlexNet below them is torchvision's file, looked for on this machine
and never downloaded. Choices of ours: images whose shorter side is under 64 pixels are enlarged to it (bilinear; at 32
AlexNet's last layers see one pixel), grey images are repeated to three channels, and pairs for diversity are disjoint,
so that they are independent and value +- 1.96 standard errors is an honest interval.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.metrics.sizes import PAIRS
from leakbench.metrics.weights.resources import LPIPS, at_hand
from leakbench.runtime.device import RngStream, in_batches
from leakbench.statistics.estimate import Estimate

_SHORTEST = 64
_ROWS = 32  # pairs in a compute batch

Distance = Callable[[ImagesLike, ImagesLike], Tensor]
"""Two sets of images (N, C, H, W) in [-1, 1] -> N distances."""


class Lpips:
    """LPIPS v0.1 on AlexNet: two sets of images (N, C, H, W) in [-1, 1] -> (N,) float32, 0 for equal images."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, a: ImagesLike, b: ImagesLike) -> Tensor:
        self.network.to(a.device)
        with torch.no_grad():
            return in_batches(self.at_once, a, b, size=_ROWS)

    def at_once(self, a: Tensor, b: Tensor) -> Tensor:
        """The same of a few images as they are, without filling up a batch."""
        distances: Tensor = self.network(enlarged(a), enlarged(b)).flatten()
        return distances


def alexnet_weights() -> Path | None:
    """torchvision's AlexNet file in `weights_folder()` or in torch hub's checkpoints; None when in neither."""
    hub = Path(torch.hub.get_dir()) / "checkpoints" / LPIPS.file
    return at_hand(LPIPS) or (hub if hub.is_file() else None)


def load_lpips(weights: Path | None = None) -> Lpips | None:
    """LPIPS with AlexNet's state dict from a file (default: `alexnet_weights()`), or None when there is no such file.

    Raises ValueError when the file holds something else.
    """
    weights = weights or alexnet_weights()
    if weights is None or not weights.is_file():
        return None
    import lpips

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # lpips builds its AlexNet, at random, through an argument that torchvision has deprecated.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torchvision\.models\._utils")
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    try:
        _load_backbone(network.net, torch.load(weights, map_location="cpu", weights_only=True))
    except (KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{weights} is not a state dict of torchvision's AlexNet: {error}") from error
    return Lpips(network.requires_grad_(False).eval())


def diversity(images: ImagesLike, distance: Distance, stream: RngStream, pairs: int = PAIRS) -> Estimate:
    """The mean distance over random disjoint pairs of images (N, C, H, W): `pairs` of them, or N / 2 if that is fewer.

    Raises ValueError below four images.
    """
    count = min(pairs, len(images) // 2)
    order, view = stream.uniform(torch.arange(len(images))).argsort(stable=True), ImageView.concatenate([images])
    return _mean(distance(view.subset(order[:count]), view.subset(order[count : 2 * count])))


def nearest_distance(images: ImagesLike, nearest_train_images: ImagesLike, distance: Distance) -> Estimate:
    """The mean distance of images (N, C, H, W) to the training images (N, C, H, W) found closest to them, row by row.

    Raises ValueError below two images.
    """
    return _mean(distance(images, nearest_train_images))


def _mean(distances: Tensor) -> Estimate:
    if len(distances) < 2:
        raise ValueError(f"a mean distance needs two pairs of images, not {len(distances)}")
    values = distances.double()
    mean, error = float(values.mean()), float(values.std()) / len(values) ** 0.5
    return Estimate(mean, mean - 1.96 * error, mean + 1.96 * error, len(values))


def enlarged(images: Tensor) -> Tensor:
    """Three channels, and at least 64 pixels on the shorter side."""
    colour, shortest = images.expand(-1, 3, -1, -1), min(images.shape[-2:])
    if shortest >= _SHORTEST:
        return colour
    size = [round(side * _SHORTEST / shortest) for side in images.shape[-2:]]
    return F.interpolate(colour, size=size, mode="bilinear", align_corners=False)


def _load_backbone(slices: nn.Module, state: dict[str, Any]) -> None:
    """lpips keeps AlexNet's `features` in slices, each layer under its number of old."""
    for part in slices.children():
        for number, layer in part.named_children():
            names = layer.state_dict().keys()
            layer.load_state_dict({name: state[f"features.{number}.{name}"] for name in names})
