"""The features of a run: one network for a split, made once, with which every release is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from leakbench.data.image_view import ImagesLike, ImageView
from leakbench.measurement.extra_features import ExtraFeatures
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import Parts, code_parts, hash_parts
from leakbench.metrics import quality
from leakbench.metrics.features import Features, resolve_features
from leakbench.metrics.reference_classifier import (
    ReferenceClassifier,
    load_reference_classifier,
    save_reference_classifier,
    train_reference_classifier,
)
from leakbench.metrics.utility import utility
from leakbench.models.classifiers import SmallConvNet
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.key_file import write_key_parts
from leakbench.runtime.device import RngStream, place
from leakbench.runtime.errors import UsageError
from leakbench.statistics.estimate import Estimate

CLASSIFIERS = ("classifier", "attribute", "rotation")  # of reference images, by what they are taught


@dataclass(eq=False)
class FeatureExtractor:
    """The suite's features and its reference classifiers, made once for a split and cached."""

    inputs: RunInputs
    _known: dict[bytes, Tensor] = field(default_factory=dict)
    _floors: dict[int, Estimate] = field(default_factory=dict)
    _utilities: dict[int, Estimate] = field(default_factory=dict)

    @cached_property
    def features(self) -> Features:
        """The features that [quality] names. Raises UsageError when they cannot be had."""
        return self._resolve(self.reference_classifier, self.inputs.device)

    @cached_property
    def extra(self) -> ExtraFeatures:
        """Features measured beside these where their weights lie on this machine."""
        return ExtraFeatures(self.inputs)

    def check(self) -> None:
        """Raise UsageError when the features cannot be had; trains nothing."""
        # On the CPU: the machine that plans a run on a cluster need not have the nodes' device.
        self._resolve(lambda kind: None, torch.device("cpu"))  # type: ignore[arg-type, return-value]

    def untrained(self) -> Features:
        """The features to be timed: where they would be trained, a network of their size with random weights. Raises
        UsageError when they cannot be had."""

        def random_weights(kind: str) -> ReferenceClassifier:
            with torch.random.fork_rng(devices=[]):
                network = SmallConvNet(self.inputs.data.shape[0], 10)
            return ReferenceClassifier(place(network, self.inputs.device).eval(), "rotation")

        return self._resolve(random_weights, self.inputs.device)

    def _resolve(self, classifier: Callable[[str], ReferenceClassifier], device: torch.device) -> Features:
        inputs, name = self.inputs, self.inputs.suite.file.quality.features
        try:
            return resolve_features(name, inputs.data.labels is not None, classifier, device)
        except ValueError as error:
            raise UsageError(f"quality.features = {name!r}: {error}") from None

    # The classifiers of the reference images --------------------------------------------------------------------------

    def reference_classifier(self, kind: str) -> ReferenceClassifier:
        """The classifier trained on the reference part: of labels ("classifier"), of quarter turns ("rotation") or of
        the sensitive attribute ("attribute"). From the cache, or trained now."""
        inputs, parts = self.inputs, self._classifier_parts(kind)

        def make(folder: Path) -> None:
            rows = inputs.split.parts["reference"]
            known = {"classifier": inputs.data.labels, "attribute": inputs.split.attribute}.get(kind)
            labels = None if known is None else torch.from_numpy(known[rows]).to(inputs.device)
            classes = 0 if known is None else int(known.max()) + 1
            images, stream = inputs.images(rows).to(inputs.device), inputs.streams(0).of("reader", kind)
            save_reference_classifier(train_reference_classifier(images, labels, stream, classes), folder)
            write_key_parts(folder, parts)

        return load_reference_classifier(self._cache.get_or_make(hash_parts(parts), make), inputs.device)

    @property
    def _cache(self) -> ArtefactCache:
        return ArtefactCache.of_run(self.inputs.config, "readers")

    def _classifier_parts(self, kind: str) -> Parts:
        """Parts of the cache key of a classifier of the reference images."""
        code = code_parts(train_reference_classifier, save_reference_classifier, RunInputs)
        return {"kind": kind, **code, "device": self.inputs.device.type, **self.inputs.data_key}

    def delete_classifiers(self) -> None:
        """Delete the classifiers of the reference images from the cache: they will be trained again."""
        for kind in CLASSIFIERS:
            self._cache.delete(hash_parts(self._classifier_parts(kind)))

    def label_probabilities(self, images: ImagesLike) -> Tensor:
        """Label probabilities (N, classes) of images (N, C, H, W), on the CPU, by the reference images' classifier."""
        return self.reference_classifier("classifier").probabilities(images.to(self.inputs.device)).cpu()

    @cached_property
    def attribute_classifier(self) -> SmallConvNet:
        """The network of the sensitive attribute's classifier."""
        return self.reference_classifier("attribute").network

    # Features ---------------------------------------------------------------------------------------------------------

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

    def floor(self, n: int) -> Estimate:
        """The Frechet distance of training images to held-out images at n on both sides, which all releases share."""
        if n not in self._floors:
            self._floors[n] = quality.frechet(self.train, self.heldout, n)
        return self._floors[n]

    # Utility ----------------------------------------------------------------------------------------------------------

    def utility(self, images: ImagesLike, labels: Tensor, stream: RngStream) -> Estimate:
        """Accuracy on held-out images of a classifier that learnt from images (N, C, H, W) and labels (N,), both on the
        run's device."""
        inputs, rows = self.inputs, self.inputs.heldout_rows
        known, groups = inputs.data.labels, inputs.split.group
        assert known is not None
        told = torch.from_numpy(known[rows]).to(inputs.device)
        heldout = inputs.heldout_images.to(inputs.device)
        whose = None if groups is None else groups[rows]
        return utility(images, labels, heldout, told, int(known.max()) + 1, stream, whose)

    def real_utility(self, n: int) -> Estimate:
        """`utility` of n training images with their own labels, which all releases share."""
        if n not in self._utilities:
            inputs, stream = self.inputs, self.inputs.streams(0).of("utility", "real images")
            order = stream.uniform(torch.arange(len(inputs.split.train))).argsort(stable=True)
            rows = inputs.split.train[order[:n].numpy()]
            assert inputs.data.labels is not None
            labels = torch.from_numpy(inputs.data.labels[rows]).to(inputs.device)
            self._utilities[n] = self.utility(inputs.images(rows).to(inputs.device), labels, stream)
        return self._utilities[n]
