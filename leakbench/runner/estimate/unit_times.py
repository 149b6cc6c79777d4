"""Seconds of what a suite is made of: what an estimate asks for, whether it was timed or follows from counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from leakbench.models.work import Work


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one image: `forward` through the network without gradients, `training` forward and backward."""

    forward: float
    training: float


NO_NETWORK = StepTimes(0.0, 0.0)  # of samples that were given without their model


class Times(Protocol):
    """Seconds of one image, or of one pair for LPIPS, by what is done to it."""

    def network(self, condition: str) -> StepTimes:
        """The suite's network of this condition."""

    def given(self, work: Work) -> StepTimes:
        """A given model's network, whose work is known from its files."""

    @property
    def features(self) -> float:
        """The features that [quality] names."""

    @property
    def reader(self) -> float:
        """The classifier of reference images that a reader trains, forward; 0 where it trains none."""

    @property
    def classifier(self) -> float:
        """The small classifier that utility trains (leakbench.models.classifiers), forward."""

    @property
    def product(self) -> float:
        """One multiplication and addition of a product of matrices."""

    @property
    def lpips(self) -> float:
        """LPIPS; 0 without weights."""

    @property
    def extra_features(self) -> float:
        """DINOv2 and SSCD, as far as the run measures them."""
