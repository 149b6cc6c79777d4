"""Image embeddings for quality and copying: what turns images (N, C, H, W) in [-1, 1] into features (N, D) float32.

- `inception`: the TorchScript InceptionV3 of StyleGAN2-ADA behind clean-fid's wrapper, after clean-fid's resizer
  (Parmar et al. 2104.11222, mode "clean": Pillow's bicubic with antialiasing, channel by channel in float, to 299x299).
  As there, images are uint8 before they are resized, and are not rounded again. Only this gives a distance called FID.
- `classifier`: the penultimate layer of the small classifier of readers.py, trained on the reference split. Without
  labels it is `rotation`: the classifier tells by which of four quarter turns an image was turned (Gidaris et al.
  1803.07728), on the central square of images that are not square. Both are choices of ours.
- `torchscript:PATH`: any scripted network that maps images in [-1, 1] to (N, D), or to a pair that starts with it.
- `pixels`: the pixels.

Nothing here downloads. Every embedding is computed in batches of a fixed size, so it does not depend on its neighbours.
"""

from __future__ import annotations

import hashlib
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

from leakbench.device import Stream, in_batches, place
from leakbench.readers import SmallConvNet, train_classifier
from leakbench.store import cache_root

_ROWS = 128  # images in a compute batch
_INCEPTION = "inception-2015-12-05.pt"


class Features(Protocol):
    """An embedding. `name` is what records hold."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) float32 in [-1, 1] -> (N, D) float32, on the images' device."""
        ...


def distance_name(features_name: str) -> str:
    """How a table prints the Frechet distance of an embedding: "FID" for inception alone, else "FD-<name>"."""
    return "FID" if features_name == "inception" else f"FD-{features_name}"


class Pixels:
    """Flattened pixels."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1).float()


class ReaderFeatures:
    """The penultimate layer of a trained classifier, named "classifier" or "rotation"."""

    def __init__(self, network: SmallConvNet, name: Literal["classifier", "rotation"]) -> None:
        self.network, self.name = network, name

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return in_batches(self.network.features, images, size=_ROWS)

    def probabilities(self, images: Tensor) -> Tensor:
        """What the classifier makes of images: (N, classes), each row summing to 1."""
        with torch.no_grad():
            return in_batches(lambda x: self.network(x).softmax(dim=1), images, size=_ROWS)


class TorchScript:
    """A scripted network in a file, on a device. Raises ValueError when the file is missing."""

    def __init__(self, path: Path, device: torch.device) -> None:
        # Never the bare file name: a file called inception.pt must not print as FID.
        self.name, self.network = f"torchscript:{path.stem}", _load_script(path, device)

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return in_batches(self._embed, images, size=_ROWS)

    def _embed(self, images: Tensor) -> Tensor:
        out = self.network(images)
        features: Tensor = out[0] if isinstance(out, tuple) else out
        return features.flatten(1).float()


class Inception:
    """clean-fid's InceptionV3, 2048 features. Raises ValueError when the weights are not on this machine."""

    name = "inception"

    def __init__(self, device: torch.device) -> None:
        path = inception_weights()
        if path is None:
            raise ValueError(missing_inception())
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        with _scripts_are_deprecated():
            self.network = InceptionV3W(str(path.parent), download=False).to(device)
        self.resize = build_resizer("clean")

    def __call__(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return in_batches(self._embed, images, size=_ROWS)

    def _embed(self, images: Tensor) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise ValueError(f"inception features need grey or RGB images, not {images.shape[1]} channels")
        colour = images.expand(-1, 3, -1, -1)  # as clean-fid's convert("RGB") of a grey image
        stored = ((colour + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        resized = torch.stack([torch.from_numpy(self.resize(image)) for image in stored])
        features: Tensor = self.network(resized.permute(0, 3, 1, 2).contiguous().to(images.device))
        return features.float()


def weights_folder() -> Path:
    """Where pretrained weights are looked for: the artefact cache's folder, $LEAKBENCH_CACHE/weights."""
    return cache_root() / "weights"


def missing_inception() -> str:
    """One line for users: the file that FID needs and where to put it."""
    place = weights_folder()
    return f"the inception weights {_INCEPTION} are not on this machine: put them in {place}, or choose other features"


def inception_weights() -> Path | None:
    """The inception weights in `weights_folder()`, or None.

    Not clean-fid's own place, which is /tmp: the file is a program, and there anybody could leave another one.
    """
    path = weights_folder() / _INCEPTION
    return path if path.is_file() else None


def weights_at_hand(name: str) -> str:
    """What an embedding's results depend on beside its name: the hash of the file that it is read from, or ""."""
    if name.startswith("torchscript:"):
        return file_digest(Path(name.removeprefix("torchscript:")))
    return file_digest(inception_weights()) if name in ("auto", "inception") else ""


def file_digest(path: Path | None) -> str:
    """sha256 of a file; "" where there is none."""
    return _digest_at(path, path.stat().st_mtime_ns) if path is not None and path.is_file() else ""


@cache
def _digest_at(path: Path, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train_reader(images: Tensor, labels: Tensor | None, stream: Stream, classes: int = 0) -> ReaderFeatures:
    """Train the small classifier on reference images (N, C, H, W) and labels (N,), 0 .. classes - 1; None: rotation.

    `classes` 0: as many as the labels show.
    """
    if labels is not None:
        classes = classes or int(labels.max()) + 1
        return ReaderFeatures(train_classifier(images, labels, classes, stream), "classifier")
    side = min(images.shape[-2:])
    top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
    square = images[..., top : top + side, left : left + side]
    turned = torch.cat([square.rot90(turns, (-2, -1)) for turns in range(4)])
    turns = torch.arange(4, device=images.device).repeat_interleave(len(images))
    return ReaderFeatures(train_classifier(turned, turns, 4, stream), "rotation")


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
        name = "inception" if inception_weights() else "classifier" if labelled else "rotation"
    if name == "classifier" and not labelled:
        raise ValueError('features = "classifier" needs labels, which this data set has not: choose "rotation"')
    if name in ("classifier", "rotation"):
        return reader(name)
    if name.startswith("torchscript:"):
        return TorchScript(Path(name.removeprefix("torchscript:")), device)
    if name == "inception":
        return Inception(device)
    if name == "pixels":
        return Pixels()
    raise ValueError(f'features = "{name}" is none of auto, inception, classifier, rotation, pixels, torchscript:PATH')


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
