"""Image embeddings for quality and copying: what turns images (N, C, H, W) in [-1, 1] into features (N, D) float32.

- `inception`: the TorchScript InceptionV3 of StyleGAN2-ADA behind clean-fid's wrapper, after clean-fid's resizer
  (Parmar et al. 2104.11222, mode "clean": Pillow's bicubic with antialiasing, channel by channel in float, to 299x299).
  As there, images are uint8 before they are resized, and are not rounded again. Only this gives a distance called FID.
- `classifier`: the penultimate layer of the small classifier of readers.py, trained on the reference split. Without
  labels it is `rotation`: the classifier tells by which of four quarter turns an image was turned (Gidaris et al.
  1803.07728), on the central square of images that are not square. Both are choices of ours.
- `dinov2`: ViT-L/14 (leakbench.metrics.weights.dinov2).
- `torchscript:PATH`: any scripted network that maps images in [-1, 1] to (N, D), or to a pair that starts with it.
- `pixels`: the pixels.

Nothing here downloads. Every embedding is computed in batches of a fixed size, so it does not depend on its neighbours.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leakbench.data.image_view import ImagesLike
from leakbench.metrics.weights.dinov2 import DINOv2
from leakbench.metrics.weights.resources import DINOV2, INCEPTION, at_hand, missing
from leakbench.models.classifiers import SmallConvNet, train_classifier
from leakbench.runtime.device import RngStream, in_batches, place
from leakbench.runtime.download.resource import known_hash

ROWS = 128  # images in a compute batch


class Features(Protocol):
    """An embedding. `name` is what records hold."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: ImagesLike) -> Tensor:
        """Images (N, C, H, W) float32 in [-1, 1] -> (N, D) float32, on the images' device."""
        ...

    def at_once(self, images: Tensor) -> Tensor:
        """The same of a few images as they are, without filling up a batch, for who wants to know how long it takes."""
        ...


def distance_name(features_name: str) -> str:
    """How a table prints the Frechet distance of an embedding: "FID" for inception alone, else "FD-<name>"."""
    return "FID" if features_name == "inception" else f"FD-{features_name}"


class Pixels:
    """Flattened pixels."""

    name = "pixels"

    def __call__(self, images: ImagesLike) -> Tensor:
        return self.at_once(images[:])

    def at_once(self, images: Tensor) -> Tensor:
        return images.flatten(1).float()


class ReaderFeatures:
    """The penultimate layer of a trained classifier, named "classifier" or "rotation"."""

    def __init__(self, network: SmallConvNet, name: Literal["classifier", "rotation"]) -> None:
        self.network, self.name = network, name

    def __call__(self, images: ImagesLike) -> Tensor:
        with torch.no_grad():
            return in_batches(self.network.features, images, size=ROWS)

    def at_once(self, images: Tensor) -> Tensor:
        return self.network.features(images)

    def probabilities(self, images: ImagesLike) -> Tensor:
        """What the classifier makes of images: (N, classes), each row summing to 1."""
        with torch.no_grad():
            return in_batches(lambda x: self.network(x).softmax(dim=1), images, size=ROWS)


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


def weights_at_hand(name: str) -> str:
    """What an embedding's results depend on beside its name: the hash of the file that it is read from, or ""."""
    if name.startswith("torchscript:"):
        return file_digest(Path(name.removeprefix("torchscript:")))
    needed = {"auto": INCEPTION, "inception": INCEPTION, "dinov2": DINOV2}.get(name)
    return file_digest(at_hand(needed)) if needed else ""


def file_digest(path: Path | None) -> str:
    """sha256 of a file; "" where there is none."""
    return _digest_at(path, path.stat().st_mtime_ns) if path is not None and path.is_file() else ""


@cache
def _digest_at(path: Path, changed: int) -> str:
    return known_hash(path)


def train_reference_classifier(
    images: ImagesLike, labels: Tensor | None, stream: RngStream, classes: int = 0
) -> ReaderFeatures:
    """Train the small classifier on reference images (N, C, H, W) and labels (N,), 0 .. classes - 1; None: rotation.

    `classes` 0: as many as the labels show.
    """
    if labels is not None:
        classes = classes or int(labels.max()) + 1
        return ReaderFeatures(train_classifier(images, labels, classes, stream), "classifier")
    turns = torch.arange(4, device=images.device).repeat_interleave(len(images))
    return ReaderFeatures(train_classifier(_Turned(images), turns, 4, stream), "rotation")


class _Turned:
    """The largest squares in the middle of images, four times over: as they are, and by one, two and three quarter
    turns. Made when they are asked for."""

    def __init__(self, images: ImagesLike) -> None:
        self._images, self.device = images, images.device
        self._side = side = min(images.shape[-2:])
        self._top, self._left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
        self.shape = (4 * len(images), images.shape[1], side, side)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        bottom, right = self._top + self._side, self._left + self._side
        square = self._images[index % len(self._images)][..., self._top : bottom, self._left : right]
        turned = torch.stack([square.rot90(turns, (-2, -1)) for turns in range(4)])
        return turned[index // len(self._images), torch.arange(len(index), device=index.device)]


def save_reader(reader: ReaderFeatures, folder: Path) -> None:
    """Write folder/reader.safetensors and folder/reader.json."""
    network = reader.network
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / "reader.safetensors")
    spec = {"name": reader.name, "channels": network.channels, "classes": network.classes, "width": network.width}
    (folder / "reader.json").write_text(json.dumps(spec, indent=1) + "\n")


def load_reader(folder: Path, device: torch.device) -> ReaderFeatures:
    """Read what `save_reader` wrote."""
    spec = json.loads((folder / "reader.json").read_text())
    name = spec.pop("name")
    with torch.random.fork_rng(devices=[]):  # start weights are drawn and thrown away: at no one's expense
        network = SmallConvNet(**spec)
    network.load_state_dict(load_file(folder / "reader.safetensors"))
    place(network, device).eval().requires_grad_(False)
    return ReaderFeatures(network, name)


def resolve(name: str, labelled: bool, reader: Callable[[str], ReaderFeatures], device: torch.device) -> Features:
    """The embedding that a suite's `features` names.

    "auto" is inception if its weights are at hand, else the reader; `labelled` says which reader the data set allows;
    `reader("classifier")` or `reader("rotation")` trains or loads it. Raises ValueError when what was asked for by name
    is missing, or the name is unknown.
    """
    if name == "auto":
        name = "inception" if at_hand(INCEPTION) else "classifier" if labelled else "rotation"
    if name == "classifier" and not labelled:
        raise ValueError('features = "classifier" needs labels, which this data set has not: choose "rotation"')
    if name in ("classifier", "rotation"):
        return reader(name)
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
