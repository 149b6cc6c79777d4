"""A classifier that reads membership off maps of an error in every pixel: the supervised variants of attacks.

Choices of ours: the papers' ResNet-18 is made for 32x32 images and learns from 20 % of the data; here the house's small
network (leakbench.models.classifiers, its own recipe of 300 steps) learns from calibration images alone: `labels` of
them, half of them members, drawn at random, or all. Maps are scaled to a root mean square of .01 over those images:
they come in any size, and the network's norms would take each image's own size off maps that outweigh the network's
biases. The score is the difference of the two logits. Where the harness fits on a part of the calibration images, in
order to score the others, no more than that part are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from leakbench.models.classifiers import train_classifier
from leakbench.runtime.device import RngStream

_RMS = 0.01


@dataclass(frozen=True)
class MapReader:
    """A fitted classifier, and what its maps are multiplied with."""

    network: nn.Module
    scale: Tensor

    @classmethod
    def fit(cls, maps: Tensor, member: np.ndarray, labels: int | None, stream: RngStream) -> MapReader:
        """From maps (N, C, H, W), members or not (N,), of which `labels` are used (None: all)."""
        truth = torch.as_tensor(member, device=maps.device)
        chosen = _drawn(truth, labels, stream)
        maps = maps[chosen]
        scale = _RMS / maps.square().mean().sqrt().clamp_min(torch.finfo(maps.dtype).tiny)
        return cls(train_classifier(maps * scale, truth[chosen].long(), 2, stream), scale)

    def score(self, maps: Tensor) -> Tensor:
        """Log-odds of membership (N,)."""
        logits: Tensor = self.network(maps * self.scale)
        return logits[:, 1] - logits[:, 0]


def _drawn(member: Tensor, count: int | None, stream: RngStream) -> Tensor:
    """Positions of `count` random images (the odd one a nonmember), half of them members; all where count is None."""
    if count is None:
        return torch.arange(len(member), device=member.device)
    order = stream.uniform(torch.arange(len(member), device=member.device)).argsort()
    mixed = member[order]
    return torch.cat([order[mixed][: count // 2], order[~mixed][: count - count // 2]])
