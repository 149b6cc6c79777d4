"""How long the networks that every quality record needs take on this machine: the suite's embedding, and LPIPS.

Both are timed on a few images (leakbench.runner.estimate.timing); a reader that would be trained is timed with random
weights, which take as long. What they are then asked follows leakbench.measurement.quality: the embedding sees every
sample and, once a worker, every real image, in whole compute batches; LPIPS sees each sample beside its nearest
training image, and the pairs of its diversity. Weights that are not on this machine take no time.
"""

from __future__ import annotations

import math

import torch

from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.metrics.features import ROWS
from leakbench.metrics.weights.perceptual import PAIRS, load_lpips
from leakbench.runner.estimate.timing import seconds_an_image
from leakbench.runtime.errors import UsageError


def seconds_embedding(inputs: RunInputs) -> float:
    """Of one image in the features that [quality] names. Raises UsageError where they cannot be had."""
    embed = FeatureExtractor(inputs).untrained()

    def call(images: int) -> None:
        embed.at_once(torch.zeros(images, *inputs.data.shape, device=inputs.device)).sum().item()

    with torch.no_grad():
        return seconds_an_image(call, ROWS)


def embedded(images: int) -> int:
    """How many images the embedding computes for so many: the last batch is filled up."""
    return math.ceil(images / ROWS) * ROWS


def seconds_lpips(inputs: RunInputs) -> float:
    """Of one pair of images; 0 without weights. Raises UsageError for weights that are none."""
    try:
        lpips = load_lpips()
    except ValueError as error:
        raise UsageError(str(error).splitlines()[0]) from None
    if lpips is None:
        return 0.0
    lpips.network.to(inputs.device)

    def call(pairs: int) -> None:
        images = torch.zeros(pairs, *inputs.data.shape, device=inputs.device)
        lpips.at_once(images, images).sum().item()

    with torch.no_grad():
        return seconds_an_image(call, ROWS)


def pairs_of(samples: int) -> int:
    """How many pairs LPIPS is asked about for so many samples."""
    return samples + min(PAIRS, samples // 2)
