"""How fast this machine calls a suite's network: a few timed calls, the middle one of which counts.

The batch grows until a call takes long enough to be timed, so that a large network on a small machine is not asked for
hundreds of images only to be timed. On the CPU the seconds are the process's own, so that what else runs on the machine
at this moment does not count: a choice of ours, for a plan of many minutes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from leakbench.measurement.inputs import RunInputs
from leakbench.models import networks
from leakbench.runtime.device import autocast, place

_LONG_ENOUGH = 0.2  # seconds
_TIMES = 3


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one image: `forward` through the network without gradients, `training` forward and backward."""

    forward: float
    training: float


def pace_of(inputs: RunInputs, condition: str) -> StepTimes:
    """Measured with a fresh network of the suite."""
    spec = inputs.network(condition)
    network = place(networks.build(spec, inputs.streams(0).of("estimate")), inputs.device).eval()

    def forward(images: int) -> None:
        x = torch.zeros(images, *spec.shape, device=inputs.device)
        t = torch.zeros(images, dtype=torch.int64, device=inputs.device)
        with autocast(inputs.device):
            answer = network(x, t, t if spec.conditions else None).float().square().mean()
        if torch.is_grad_enabled():
            answer.backward()
        answer.item()

    with torch.no_grad():
        alone = seconds_an_image(forward, inputs.suite.file.sampler.batch)
    return StepTimes(alone, seconds_an_image(forward, inputs.suite.file.sampler.batch))


def seconds_an_image(call: Callable[[int], None], most: int) -> float:
    """Of one image, by calls of so many images, `most` at the most."""
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
