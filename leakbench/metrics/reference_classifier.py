"""The small classifier trained on the reference part: its features, and its class probabilities.

Of the data set's labels where it has any. Without labels it tells by which of four quarter turns an image was turned
(Gidaris et al. 1803.07728), on the central square of images that are not square. Both are choices of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leakbench.data.image_view import ImagesLike
from leakbench.data.reduced import reduce_large
from leakbench.metrics.features import ROWS
from leakbench.models.classifiers import SmallConvNet, train_classifier
from leakbench.runtime.device import RngStream, in_batches, place


class ReferenceClassifier:
    """Features: the penultimate layer of the network, named "classifier" or "rotation"."""

    def __init__(self, network: SmallConvNet, name: Literal["classifier", "rotation"]) -> None:
        self.network, self.name = network, name

    def __call__(self, images: ImagesLike) -> Tensor:
        with torch.no_grad():
            return in_batches(self.network.features, images, size=ROWS)

    def at_once(self, images: Tensor) -> Tensor:
        return self.network.features(images)

    def probabilities(self, images: ImagesLike) -> Tensor:
        """Class probabilities of images: (N, classes), each row summing to 1."""
        with torch.no_grad():
            return in_batches(lambda x: self.network(x).softmax(dim=1), images, size=ROWS)


def train_reference_classifier(
    images: ImagesLike, labels: Tensor | None, stream: RngStream, classes: int = 0
) -> ReferenceClassifier:
    """Train the small classifier on reference images (N, C, H, W) and labels (N,), 0 .. classes - 1; None: rotation.

    `classes` 0: as many as the labels show. Large images are reduced first, as the network does with any that it is
    shown (leakbench.data.reduced).
    """
    images = reduce_large(images)
    if labels is not None:
        classes = classes or int(labels.max()) + 1
        return ReferenceClassifier(train_classifier(images, labels, classes, stream), "classifier")
    turns = torch.arange(4, device=images.device).repeat_interleave(len(images))
    return ReferenceClassifier(train_classifier(_Turned(images), turns, 4, stream), "rotation")


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
        made, turns = torch.empty_like(square, memory_format=torch.contiguous_format), index // len(self._images)
        for number in range(4):
            chosen = (turns == number).nonzero()[:, 0]
            made[chosen] = square[chosen].rot90(number, (-2, -1))
        return made


def save_reference_classifier(classifier: ReferenceClassifier, folder: Path) -> None:
    """Write folder/reader.safetensors and folder/reader.json."""
    network = classifier.network
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / "reader.safetensors")
    spec = {"name": classifier.name, "channels": network.channels, "classes": network.classes, "width": network.width}
    (folder / "reader.json").write_text(json.dumps(spec, indent=1) + "\n")


def load_reference_classifier(folder: Path, device: torch.device) -> ReferenceClassifier:
    """Read what `save_reference_classifier` wrote."""
    spec = json.loads((folder / "reader.json").read_text())
    name = spec.pop("name")
    with torch.random.fork_rng(devices=[]):  # start weights are drawn and thrown away: at no one's expense
        network = SmallConvNet(**spec)
    network.load_state_dict(load_file(folder / "reader.safetensors"))
    place(network, device).eval().requires_grad_(False)
    return ReferenceClassifier(network, name)
