"""Specification of a pretrained model, known before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leakbench.models.network_spec import NetworkSpec
    from leakbench.models.schedule import Schedule


@dataclass(frozen=True)
class PretrainedSpec:
    """A model that was not trained here, as the bottom of a chain.

    images: shape (C, H, W) of the images that it makes. network: what a defense above builds, if it builds a network of
    its own for what the model denoises; its `shape` is that of x0, its `conditions` the number of the model's labels.
    schedule: the model's, its walk of `steps` replaced by the suite's.
    """

    images: tuple[int, int, int]
    network: NetworkSpec
    schedule: Schedule
