"""Times what a suite is made of on this machine. Everything that an estimate times stands here, each timed once:

- one image through the suite's network without gradients: a step of sampling, or one query of an attack;
- one image in a step of training, by a few steps of the training loop in batches of `_BATCH` (a choice of ours; where
  networks are tiny, what a step takes beside its images shows in smaller batches);
- one image in the features of [quality]; features that would be trained are timed with random weights;
- one pair of images by LPIPS;
- the products a second of this device, for DINOv2 and SSCD, whose products an image are known, and for searches;
- one image in the small classifier that utility trains.

Networks whose weights are not on this machine take no time. The batch of a timed call grows until it takes long enough
to be timed. On the CPU with one thread the seconds are the process's own, so that what else runs on the machine at this
moment does not count: a choice of ours, for a plan of many minutes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import cached_property
from math import inf

import torch
from torch import Tensor

from leakbench.measurement.extra_features_policy import list_extra_features
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.metrics.features import ROWS
from leakbench.metrics.weights.perceptual import load_lpips
from leakbench.models import networks
from leakbench.models.classifiers import SmallConvNet
from leakbench.models.training.loop import Recipe, train
from leakbench.models.work import Work, count_spec_work
from leakbench.runner.estimate.count_times import PRODUCTS
from leakbench.runner.estimate.unit_times import NO_NETWORK, StepTimes
from leakbench.runtime.device import autocast, place
from leakbench.runtime.errors import UsageError

_LONG_ENOUGH = 0.2  # seconds of a timed call
_TIMES = 3  # calls, the middle one of which counts
_BATCH = 64  # images of a step of training
_STEPS = 32  # of training, at the most


class UnitTimes:
    """Seconds of one image, or of one pair, by what is done to it."""

    def __init__(self, inputs: RunInputs) -> None:
        self.inputs = inputs
        self._networks: dict[str, StepTimes] = {}

    def network(self, condition: str) -> StepTimes:
        """Step times of the suite's network of this condition."""
        if condition not in self._networks:
            self._networks[condition] = time_network(self.inputs, condition)
        return self._networks[condition]

    def given(self, work: Work) -> StepTimes:
        """Step times of a network of this work: those of the suite's own, for as much more or less work."""
        if not work.effective:
            return NO_NETWORK
        own = self.network("none")
        more = work.effective / count_spec_work(self.inputs.network("none")).effective
        return StepTimes(own.forward * more, own.training * more)

    @cached_property
    def features(self) -> float:
        """Seconds of one image in the features that [quality] names. Raises UsageError where they cannot be had."""
        embed = FeatureExtractor(self.inputs).untrained()
        with torch.no_grad():
            return seconds_an_image(lambda images: embed.at_once(self._blank(images)).sum().item(), ROWS)

    @property
    def reader(self) -> float:
        """Seconds of one image in the classifier that a reader trains; 0 where [quality] names other features."""
        name = FeatureExtractor(self.inputs).untrained().name
        return self.features if name in ("classifier", "rotation") else 0.0

    @cached_property
    def classifier(self) -> float:
        """Seconds of one image in the small classifier that utility trains."""
        with torch.random.fork_rng(devices=[]):
            network = place(SmallConvNet(self.inputs.data.shape[0], 10), self.inputs.device).eval()
        with torch.no_grad():
            return seconds_an_image(lambda images: network(self._blank(images)).sum().item(), ROWS)

    @cached_property
    def product(self) -> float:
        """Seconds of one multiplication and addition of a product of matrices."""
        return 1 / _products_per_second(self.inputs.device)

    @cached_property
    def lpips(self) -> float:
        """Seconds of one pair of images by LPIPS; 0 without weights. Raises UsageError for weights that are none."""
        try:
            lpips = load_lpips()
        except ValueError as error:
            raise UsageError(str(error).splitlines()[0]) from None
        if lpips is None:
            return 0.0
        lpips.network.to(self.inputs.device)
        with torch.no_grad():
            return seconds_an_image(lambda n: lpips.at_once(self._blank(n), self._blank(n)).sum().item(), ROWS)

    @cached_property
    def extra_features(self) -> float:
        """Seconds of one image by DINOv2 and SSCD, as far as the run measures them."""
        products = sum(PRODUCTS[name] for name in list_extra_features(self.inputs))
        return products * self.product if products else 0.0

    def _blank(self, images: int) -> Tensor:
        return torch.zeros(images, *self.inputs.data.shape, device=self.inputs.device)


def time_network(inputs: RunInputs, condition: str) -> StepTimes:
    """Time a fresh network of the suite."""
    spec, batch = inputs.network(condition), inputs.suite.file.sampler.batch
    network = place(networks.build(spec, inputs.streams(0).of("estimate")), inputs.device).eval()

    def call(images: int) -> Tensor:
        x = torch.zeros(images, *spec.shape, device=inputs.device)
        t = torch.zeros(images, dtype=torch.int64, device=inputs.device)
        with autocast(inputs.device):
            return network(x, t, t if spec.conditions else None).float().square().mean()

    def learn(images: int) -> None:
        recipe = Recipe(steps=max(1, images // _BATCH), batch=min(images, _BATCH))
        train(
            network.requires_grad_(True),
            lambda _, drawn: call(len(drawn.index)),
            recipe,
            stream=inputs.streams(0).of("estimate"),
            count=1,
            noise_shape=spec.shape,
        )

    with torch.no_grad():
        forward = seconds_an_image(lambda images: call(images).item(), batch)
    return StepTimes(forward, seconds_an_image(learn, _STEPS * _BATCH))


def seconds_an_image(call: Callable[[int], object], most: int) -> float:
    """Seconds of one image, by calls of so many images, `most` at the most."""
    clock = time.perf_counter if torch.cuda.is_available() or torch.get_num_threads() > 1 else time.process_time
    images = 1
    while True:
        taken = []
        for _ in range(_TIMES):
            began = clock()
            call(images)
            taken.append(clock() - began)
            if images > 1 and taken[-1] > _LONG_ENOUGH * 4:
                break
        middle = statistics.median(taken)
        if middle > _LONG_ENOUGH or images >= most:
            return middle / images
        images = min(most, images * 4)


def _products_per_second(device: torch.device) -> float:
    """The best of five multiplications of matrices."""
    left, right = (torch.ones(1024, 1024, device=device) for _ in range(2))
    best = inf
    for _ in range(5):
        began = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - began)
    return 1024**3 / best
