"""Unit times of an estimate without torch: work counted from shapes, times the speed of the machine."""

from __future__ import annotations

import math
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from leakbench.metrics.weights.resources import DINOV2, INCEPTION, LPIPS, SSCD, at_hand
from leakbench.models.work import Work, count_spec_work
from leakbench.runner.estimate.speeds import Speed, find_speed, measure_numpy
from leakbench.runner.estimate.unit_times import NO_NETWORK, StepTimes

if TYPE_CHECKING:
    from leakbench.measurement.inputs import RunInputs

PRODUCTS = {"inception": 5.7e9, "dinov2": 81e9, "sscd": 6.8e9}  # an image at the network's own size
_LPIPS = 2 * 0.66e9 / 224**2  # products of a pixel, both images of a pair
_WIDTHS = (32, 64, 64)  # of the classifier of reference images (leakbench.models.classifiers)
_LEAST_SIDE = 32  # pixels below which dinov2 and sscd are not measured


class CountedTimes:
    """Seconds of one image, or of one pair, by what is done to it (leakbench.runner.estimate.unit_times.Times).

    sources: where the speeds come from, in words.
    """

    def __init__(self, inputs: RunInputs) -> None:
        self.inputs, self.sources = inputs, set[str]()

    @cached_property
    def _numpy(self) -> Speed:
        return measure_numpy()

    def _step(self, work: Work) -> StepTimes:
        if not work.effective:
            return NO_NETWORK
        speed = find_speed(self.inputs.config.device, work.effective) or self._numpy
        self.sources.add(speed.source)
        forward = work.effective * speed.seconds
        return StepTimes(forward, 3 * forward)

    def network(self, condition: str) -> StepTimes:
        """The suite's network of this condition."""
        return self._step(count_spec_work(self.inputs.network(condition)))

    def given(self, work: Work) -> StepTimes:
        """A given model's network."""
        return self._step(work)

    def _seconds(self, products: float) -> float:
        return 2 * products * self._numpy.seconds

    @property
    def _names_classifier(self) -> bool:
        name = self.inputs.suite.file.quality.features
        return name in ("classifier", "rotation") or (name == "auto" and at_hand(INCEPTION) is None)

    @property
    def features(self) -> float:
        """The features that [quality] names; 0 of those in a file of one's own."""
        name = self.inputs.suite.file.quality.features
        if self._names_classifier:
            return self.reader
        return self._seconds(PRODUCTS.get("inception" if name == "auto" else name, 0.0))

    @property
    def reader(self) -> float:
        """The classifier of reference images, forward; 0 where none is trained."""
        return self.classifier if self._names_classifier else 0.0

    @property
    def classifier(self) -> float:
        """The small classifier that utility trains, forward."""
        channels, *side = self.inputs.data.shape
        pixels = math.prod(side) / (4 if max(side) > 32 else 1)
        inputs = (channels, *_WIDTHS)
        layers = [(9 * inputs[n] * _WIDTHS[n], pixels / 4**n) for n in range(3)]
        flops = sum(2.0 * size * there for size, there in layers)
        outputs = sum(_WIDTHS[n] * there for n, (_, there) in enumerate(layers))
        return Work(flops, outputs).effective * self._numpy.seconds

    @property
    def product(self) -> float:
        """One multiplication and addition of a product of matrices."""
        return self._seconds(1.0)

    @property
    def lpips(self) -> float:
        """LPIPS; 0 without weights."""
        return self._seconds(_LPIPS * math.prod(self.inputs.data.shape[1:])) if at_hand(LPIPS) else 0.0

    @property
    def extra_features(self) -> float:
        """DINOv2 and SSCD, where their weights are here."""
        table = self.inputs.suite.file.quality
        if min(self.inputs.data.shape[1:]) < _LEAST_SIDE:
            return 0.0
        here = {"dinov2": at_hand(DINOV2) is not None and find_spec("timm") is not None, "sscd": bool(at_hand(SSCD))}
        return self._seconds(sum(PRODUCTS[name] for name in table.beside if here[name] and name != table.features))
