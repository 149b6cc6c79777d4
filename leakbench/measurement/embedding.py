"""The embedding of a run: one network for a split, made once, with which every release is measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.measurement.extra_features import ExtraFeatures
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import Parts, code_parts, hash_parts
from leakbench.metrics.features import (
    Features,
    ReaderFeatures,
    load_reader,
    resolve,
    save_reader,
    train_reference_classifier,
)
from leakbench.models.classifiers import SmallConvNet
from leakbench.runtime.cache.key_file import write_key_parts
from leakbench.runtime.device import place
from leakbench.runtime.errors import UsageError

KINDS = ("classifier", "attribute", "rotation")  # of classifiers, by what they are taught about reference images


class FeatureExtractor:
    """The suite's features, made once for a split and cached: every release is measured with the same."""

    def __init__(self, inputs: RunInputs) -> None:
        self.inputs = inputs
        self.store = inputs.config.store("readers")
        self._known: dict[bytes, Tensor] = {}

    @cached_property
    def features(self) -> Features:
        """The embedding that [quality] features names. Raises UsageError when it cannot be had."""
        return self._resolved(self._reader, self.inputs.device)

    @cached_property
    def beside(self) -> ExtraFeatures:
        """What joins it where its weights lie on this machine."""
        return ExtraFeatures(self.inputs)

    def check(self) -> None:
        """Raise UsageError when the embedding cannot be had; trains nothing."""
        # On the CPU: the machine that plans a run on a cluster need not have the nodes' device.
        self._resolved(lambda kind: None, torch.device("cpu"))  # type: ignore[arg-type, return-value]

    def untrained(self) -> Features:
        """The embedding to be timed: where it would be trained, a network of its size that knows nothing. Raises
        UsageError when it cannot be had."""

        def reader(kind: str) -> ReaderFeatures:
            with torch.random.fork_rng(devices=[]):
                network = SmallConvNet(self.inputs.data.shape[0], 10)
            return ReaderFeatures(place(network, self.inputs.device).eval(), "rotation")

        return self._resolved(reader, self.inputs.device)

    def _resolved(self, reader: Callable[[str], ReaderFeatures], device: torch.device) -> Features:
        inputs, name = self.inputs, self.inputs.suite.file.quality.features
        try:
            return resolve(name, inputs.data.labels is not None, reader, device)
        except ValueError as error:
            raise UsageError(f"quality.features = {name!r}: {error}") from None

    def _reader(self, kind: str) -> ReaderFeatures:
        inputs, parts = self.inputs, self._parts(kind)

        def make(folder: Path) -> None:
            rows = inputs.split.parts["reference"]
            known = {"classifier": inputs.data.labels, "attribute": inputs.split.attribute}.get(kind)
            labels = None if known is None else torch.from_numpy(known[rows])
            classes = 0 if known is None else int(known.max()) + 1
            images = inputs.images(rows).to(inputs.device)
            labels = None if labels is None else labels.to(inputs.device)
            stream = inputs.streams(0).of("reader", kind)
            save_reader(train_reference_classifier(images, labels, stream, classes), folder)
            write_key_parts(folder, parts)

        return load_reader(self.store.get(hash_parts(parts), make), inputs.device)

    def _parts(self, kind: str) -> Parts:
        """Parts of the key of a classifier of the reference images."""
        code = code_parts(train_reference_classifier, RunInputs)
        return {"kind": kind, **code, "device": self.inputs.device.type, **self.inputs.data_key}

    def delete_classifiers(self) -> None:
        """Delete the classifiers of the reference images from the cache: they will be trained again."""
        for kind in KINDS:
            self.store.drop(hash_parts(self._parts(kind)))

    def judge(self, images: ImagesLike) -> Tensor:
        """Label probabilities (N, classes) of images (N, C, H, W), on the CPU, by the reference images' classifier."""
        return self._reader("classifier").probabilities(images.to(self.inputs.device)).cpu()

    @cached_property
    def attribute_reader(self) -> SmallConvNet:
        """A classifier of the sensitive attribute, trained on the reference images."""
        return self._reader("attribute").network

    def __call__(self, images: ImagesLike) -> Tensor:
        """Features (N, D) of images (N, C, H, W), on the run's device, where they are compared. Those of the data set's
        own are kept: every release is compared with them."""
        parts = images.parts if isinstance(images, ImageView) else [images]
        return torch.cat([self._of(part) for part in parts])

    def _of(self, images: ImagesLike) -> Tensor:
        if not isinstance(images, ImageView) or images.identity[0] != self.inputs.pictures.identity[0]:
            return self.features(images.to(self.inputs.device))
        rows = images.identity[1]
        if rows not in self._known:
            self._known[rows] = self.features(images.to(self.inputs.device))
        return self._known[rows]

    @property
    def train(self) -> Tensor:
        """Features of the training images."""
        return self(self.inputs.train_images)

    @property
    def heldout(self) -> Tensor:
        """Features of the held-out images."""
        return self(self.inputs.heldout_images)
