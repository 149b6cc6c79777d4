"""The embedding of a run: one network for a split, made once, with which every release is measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from leakbench.errors import UsageError
from leakbench.features import Features, ReaderFeatures, load_reader, resolve, save_reader, train_reader
from leakbench.readers import SmallConvNet
from leakbench.store import Store, key_of
from leakbench.workbench import Workbench, sources


class Embedding:
    """The suite's features, made once for a split and cached: every release is measured with the same."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.store = Store(bench.setting.cache, "readers")

    @cached_property
    def features(self) -> Features:
        """The embedding that [quality] features names. Raises UsageError when it cannot be had."""
        return self._resolved(self._reader)

    def check(self) -> None:
        """Raise UsageError when the embedding cannot be had; trains nothing."""
        self._resolved(lambda kind: None)  # type: ignore[arg-type, return-value]

    def _resolved(self, reader: Callable[[str], ReaderFeatures]) -> Features:
        bench, name = self.bench, self.bench.suite.file.quality.features
        try:
            return resolve(name, bench.data.labels is not None, reader, bench.device)
        except ValueError as error:
            raise UsageError(f"quality.features = {name!r}: {error}") from None

    def _reader(self, kind: str) -> ReaderFeatures:
        bench = self.bench
        key = key_of(
            kind=kind,
            source=sources("features", "readers", "training", "device"),
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
            save_reader(train_reader(images, labels, bench.streams(0).of("reader", kind), classes), folder)

        return load_reader(self.store.get(key, make), bench.device)

    def judge(self, images: Tensor) -> Tensor:
        """Label probabilities (N, classes) of images (N, C, H, W), on the CPU, by the reference images' classifier."""
        return self._reader("classifier").probabilities(images.to(self.bench.device)).cpu()

    @cached_property
    def attribute_reader(self) -> SmallConvNet:
        """A classifier of the sensitive attribute, trained on the reference images."""
        return self._reader("attribute").network

    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, D) of images (N, C, H, W), on the CPU."""
        return self.features(images.to(self.bench.device)).cpu()

    @cached_property
    def train(self) -> Tensor:
        """Features of the training images."""
        return self(self.bench.train_images)

    @cached_property
    def heldout(self) -> Tensor:
        """Features of the held-out images."""
        return self(self.bench.heldout_images)
