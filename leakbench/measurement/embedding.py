"""The embedding of a run: one network for a split, made once, with which every release is measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.measurement.extra_features import ExtraFeatures
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.features import (
    Features,
    ReaderFeatures,
    load_reader,
    resolve,
    save_reader,
    train_reference_classifier,
)
from leakbench.models.classifiers import SmallConvNet
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import key_of
from leakbench.runtime.code_digest import sources
from leakbench.runtime.device import place
from leakbench.runtime.errors import UsageError


class FeatureExtractor:
    """The suite's features, made once for a split and cached: every release is measured with the same."""

    def __init__(self, bench: ReleaseBuilder) -> None:
        self.bench = bench
        self.cache = ArtefactCache.of_run(bench.setting, "readers")
        self._known: dict[bytes, Tensor] = {}

    @cached_property
    def features(self) -> Features:
        """The embedding that [quality] features names. Raises UsageError when it cannot be had."""
        return self._resolved(self._reader, self.bench.device)

    @cached_property
    def beside(self) -> ExtraFeatures:
        """What joins it where its weights lie on this machine."""
        return ExtraFeatures(self.bench)

    def check(self) -> None:
        """Raise UsageError when the embedding cannot be had; trains nothing."""
        # On the CPU: the machine that plans a run on a cluster need not have the nodes' device.
        self._resolved(lambda kind: None, torch.device("cpu"))  # type: ignore[arg-type, return-value]

    def untrained(self) -> Features:
        """The embedding to be timed: where it would be trained, a network of its size that knows nothing. Raises
        UsageError when it cannot be had."""

        def reader(kind: str) -> ReaderFeatures:
            with torch.random.fork_rng(devices=[]):
                network = SmallConvNet(self.bench.data.shape[0], 10)
            return ReaderFeatures(place(network, self.bench.device).eval(), "rotation")

        return self._resolved(reader, self.bench.device)

    def _resolved(self, reader: Callable[[str], ReaderFeatures], device: torch.device) -> Features:
        bench, name = self.bench, self.bench.suite.file.quality.features
        try:
            return resolve(name, bench.data.labels is not None, reader, device)
        except ValueError as error:
            raise UsageError(f"quality.features = {name!r}: {error}") from None

    def _reader(self, kind: str) -> ReaderFeatures:
        bench = self.bench
        key = key_of(
            kind=kind,
            source=sources(
                "metrics.features",
                "models.classifiers",
                "models.training",
                "models.training.loop",
                "runtime.device",
                "data.image_view",
                "data.prefetch",
            ),
            device=bench.device.type,
            **bench.data_key,
        )

        def make(folder: Path) -> None:
            rows = bench.split.parts["reference"]
            known = {"classifier": bench.data.labels, "attribute": bench.split.attribute}.get(kind)
            labels = None if known is None else torch.from_numpy(known[rows])
            classes = 0 if known is None else int(known.max()) + 1
            images = bench.images(rows).to(bench.device)
            labels = None if labels is None else labels.to(bench.device)
            save_reader(
                train_reference_classifier(images, labels, bench.streams(0).of("reader", kind), classes), folder
            )

        return load_reader(self.cache.get_or_make(key, make), bench.device)

    def judge(self, images: ImagesLike) -> Tensor:
        """Label probabilities (N, classes) of images (N, C, H, W), on the CPU, by the reference images' classifier."""
        return self._reader("classifier").probabilities(images.to(self.bench.device)).cpu()

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
        if not isinstance(images, ImageView) or images.identity[0] != self.bench.pictures.identity[0]:
            return self.features(images.to(self.bench.device))
        rows = images.identity[1]
        if rows not in self._known:
            self._known[rows] = self.features(images.to(self.bench.device))
        return self._known[rows]

    @property
    def train(self) -> Tensor:
        """Features of the training images."""
        return self(self.bench.train_images)

    @property
    def heldout(self) -> Tensor:
        """Features of the held-out images."""
        return self(self.bench.heldout_images)
