"""Checks that a pretrained model fits the data and the sampler of a suite. They raise UsageError in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leakbench.data import Dataset
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.models.schedule import Schedule
from leakbench.runtime.errors import UsageError


def check_fits(identity: str, spec: PretrainedSpec, data: Dataset) -> None:
    """Check the model of the defense `identity`: it makes images of the data's size, and each has a label."""
    if spec.images != data.shape:
        theirs, ours = ("x".join(map(str, shape)) for shape in (spec.images, data.shape))
        raise UsageError(
            f"defense {identity!r}: its images are {theirs}, and those of {data.name} {ours} (channels, height, "
            "width): give it images of its own size, or say its `size` if it was fine-tuned at another"
        )
    labels, conditions = data.labels, spec.network.conditions
    if conditions and labels is None:
        raise UsageError(
            f"defense {identity!r}: its model is conditioned on {conditions} labels or captions, and {data.name} has "
            "no labels: give each image the number of its own"
        )
    if conditions and labels is not None and not 0 <= labels.min() <= labels.max() < conditions:
        raise UsageError(
            f"defense {identity!r}: its model has {conditions} labels or captions, and those of {data.name} go from "
            f"{labels.min()} to {labels.max()}: they should lie in 0 .. {conditions - 1}"
        )


def schedule_with_walk(identity: str, spec: PretrainedSpec, steps: int, clip: bool) -> Schedule:
    """Its schedule with a walk of so many steps; one of latents is not clipped."""
    if steps > spec.schedule.T:
        raise UsageError(f"sampler.steps = {steps}: the model of defense {identity!r} has {spec.schedule.T} timesteps")
    return replace(spec.schedule, steps=steps, clip=clip and spec.schedule.bounded)


def check_reference(name: str, spec: PretrainedSpec, base: PretrainedSpec) -> None:
    """Check that two models can be asked the same. Raises UsageError where one cannot have been fine-tuned from the
    other: their losses would differ in more than training."""
    theirs = {
        "images": (base.images, spec.images),
        "inputs of the network": (base.network.shape, spec.network.shape),
        "labels": (base.network.conditions, spec.network.conditions),
        "noise levels": (len(base.schedule.alpha_bar), len(spec.schedule.alpha_bar)),
    }
    for what, (one, other) in theirs.items():
        if one != other:
            raise UsageError(
                f"reference {name!r}: its {what} are {one}, and the model's {other}: it is no base of that"
            )
    if not np.allclose(base.schedule.alpha_bar, spec.schedule.alpha_bar, rtol=1e-4):
        raise UsageError(f"reference {name!r}: its noise schedule is another than the model's: it is no base of that")
