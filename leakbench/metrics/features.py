"""Image features for quality and copying: images (N, C, H, W) in [-1, 1] -> (N, D) float32.

- `inception`: the TorchScript InceptionV3 of StyleGAN2-ADA behind clean-fid's wrapper, after clean-fid's resizer
  (Parmar et al. 2104.11222, mode "clean": Pillow's bicubic with antialiasing, channel by channel in float, to 299x299).
  As there, images are uint8 before they are resized, and are not rounded again. Only this gives a distance called FID.
- `classifier`, or without labels `rotation`: the penultimate layer of a small classifier trained on the reference part
  (leakbench.metrics.reference_classifier).
- `dinov2`: ViT-L/14 (leakbench.metrics.weights.dinov2).
- `torchscript:PATH`: any scripted network that maps images in [-1, 1] to (N, D), or to a pair that starts with it.
- `pixels`: the pixels.

Nothing here downloads. All are computed in batches of a fixed size, so that an image's features do not depend on its
neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike
from leakbench.metrics.sizes import ROWS
from leakbench.metrics.weights.dinov2 import DINOv2
from leakbench.metrics.weights.resources import INCEPTION, at_hand, missing
from leakbench.runtime.device import in_batches


class Features(Protocol):
    """A map from images to features. `name` is what records hold."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: ImagesLike) -> Tensor:
        """Images (N, C, H, W) float32 in [-1, 1] -> (N, D) float32, on the images' device."""
        ...

    def at_once(self, images: Tensor) -> Tensor:
        """The same of a few images as they are, without filling up a batch, for who wants to know how long it takes."""
        ...


class Pixels:
    """Flattened pixels."""

    name = "pixels"

    def __call__(self, images: ImagesLike) -> Tensor:
        return self.at_once(images[:])

    def at_once(self, images: Tensor) -> Tensor:
        return images.flatten(1).float()


class TorchScript:
    """A scripted network in a file, on a device. Raises ValueError when the file is missing."""

    def __init__(self, path: Path, device: torch.device) -> None:
        # Never the bare file name: a file called inception.pt must not print as FID.
        self.name, self.network = f"torchscript:{path.stem}", _load_script(path, device)

    def __call__(self, images: ImagesLike) -> Tensor:
        with torch.no_grad():
            return in_batches(self.at_once, images, size=ROWS)

    def at_once(self, images: Tensor) -> Tensor:
        out = self.network(images)
        features: Tensor = out[0] if isinstance(out, tuple) else out
        return features.flatten(1).float()


class Inception:
    """clean-fid's InceptionV3, 2048 features. Raises ValueError when the weights are not on this machine."""

    name = "inception"

    def __init__(self, device: torch.device) -> None:
        path = at_hand(INCEPTION)
        if path is None:
            raise ValueError(missing(INCEPTION))
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        with _scripts_are_deprecated():
            self.network = InceptionV3W(str(path.parent), download=False).to(device)
        self.resize = build_resizer("clean")

    def __call__(self, images: ImagesLike) -> Tensor:
        with torch.no_grad():
            return in_batches(self.at_once, images, size=ROWS)

    def at_once(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise ValueError(f"inception features need grey or RGB images, not {images.shape[1]} channels")
        colour = images.expand(-1, 3, -1, -1)  # as clean-fid's convert("RGB") of a grey image
        stored = ((colour + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        resized = torch.stack([torch.from_numpy(self.resize(image)) for image in stored])
        features: Tensor = self.network(resized.permute(0, 3, 1, 2).contiguous().to(images.device))
        return features.float()


def resolve_features(
    name: str, labelled: bool, classifier: Callable[[str], Features], device: torch.device
) -> Features:
    """Make the features that a suite names.

    "auto" is inception if its weights are at hand, else the reference classifier; `labelled` says which one the data
    set allows, and `classifier("classifier")` or `classifier("rotation")` trains or loads it. Raises ValueError when
    what was asked for by name is missing, or the name is unknown.
    """
    if name == "auto":
        name = "inception" if at_hand(INCEPTION) else "classifier" if labelled else "rotation"
    if name == "classifier" and not labelled:
        raise ValueError(
            'features = "classifier" needs labels, which this data set has not: choose "rotation", by '
            "--set quality.features=rotation"
        )
    if name in ("classifier", "rotation"):
        return classifier(name)
    if name.startswith("torchscript:"):
        return TorchScript(Path(name.removeprefix("torchscript:")), device)
    if name == "inception":
        return Inception(device)
    if name == "dinov2":
        return DINOv2(device)
    if name == "pixels":
        return Pixels()
    known = "auto, inception, dinov2, classifier, rotation, pixels, torchscript:PATH"
    raise ValueError(f'features = "{name}" is none of {known}')


def _load_script(path: Path, device: torch.device) -> torch.nn.Module:
    if not path.is_file():
        raise ValueError(f"features: there is no TorchScript file {path}")
    with _scripts_are_deprecated():
        network: torch.nn.Module = torch.jit.load(path, map_location=device)
    return network.eval()


@contextmanager
def _scripts_are_deprecated() -> Iterator[None]:
    """PyTorch warns at every torch.jit.load of late; the published weights exist in no other form."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.")
        yield
