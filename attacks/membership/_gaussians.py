"""Gaussians of one number an image over shadow models: the two hypotheses of a likelihood ratio attack.

All in float64, (N, K): N images, K shadow models; a mask says which of them belong to the side that is described.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.runtime.errors import UsageError

# Twins have no spread, and nothing is divided by 0; below a millionth of the mean, float32 losses differ by rounding.
_LEAST, _ROUNDING = 1e-30, 1e-6


@dataclass(frozen=True)
class Side:
    """One side's count, mean (NaN where the count is 0) and sum of squared deviations of each image, all (N,)."""

    count: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor, chosen: Tensor) -> Side:
        """Summarise values (N, K) where `chosen` (N, K), bool, is true."""
        values, count = values.double(), chosen.sum(dim=1)
        mean = torch.where(chosen, values, 0.0).sum(dim=1) / count
        deviations = torch.where(chosen, values - mean[:, None], 0.0)
        return cls(count, mean, deviations.square().sum(dim=1))

    def std(self, pooled: Tensor, by_image: bool) -> Tensor:
        """Standard deviations (N,): the image's own (unbiased variance) where it is asked for and two shadow models
        tell it, else the pooled one."""
        own = (self.squares / (self.count - 1)).sqrt()
        chosen = torch.where(self.count > 1, own, pooled) if by_image else pooled.expand_as(own)
        return chosen.maximum((_ROUNDING * self.mean.abs()).clamp_min(_LEAST))


@dataclass(frozen=True)
class Pool:
    """Statistics of many images together, as scalar tensors: the standard deviation around an image's own mean with and
    without the image, and by how much the mean falls when the image is in (mean OUT minus mean IN)."""

    std_in: Tensor
    std_out: Tensor
    gap: Tensor

    @classmethod
    def of(cls, values: Tensor, inside: Tensor) -> Pool:
        """From values (N, K) and masks (N, K). Raises UsageError where there are too few shadow models to tell."""
        within, without = Side.of(values, inside), Side.of(values, ~inside)
        both = (within.count > 0) & (without.count > 0)
        if not bool(both.any() and (within.count > 1).any() and (without.count > 1).any()):
            raise UsageError(
                f"{inside.shape[1]} shadow models and {len(inside)} calibration images are too few for Gaussians: "
                "no image lies in two of them, or outside two, or in one and outside another"
            )
        gap = (without.mean - within.mean)[both].mean()
        return cls(_pooled(within), _pooled(without), gap)


def _pooled(side: Side) -> Tensor:
    return (side.squares.sum() / (side.count - 1).clamp_min(0).sum()).sqrt()


def both_sides(values: Tensor, inside: Tensor, pool: Pool) -> tuple[Side, Side]:
    """The sides with and without the image, each mean defined: an image that lies in all shadow models, or in none, has
    the missing mean where the pool's gap puts it."""
    within, without = Side.of(values, inside), Side.of(values, ~inside)
    mean_in = torch.where(within.count > 0, within.mean, without.mean - pool.gap)
    mean_out = torch.where(without.count > 0, without.mean, within.mean + pool.gap)
    return Side(within.count, mean_in, within.squares), Side(without.count, mean_out, without.squares)
