"""A few calibration members, as an attacker holds them who wants back what a release was to forget."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.api import Calibration, Release
from leakbench.api.views import WeightsView


@dataclass(frozen=True)
class FewMembers:
    """The release, and of the members x_0 (K, C, H, W) and labels (K,) or None."""

    release: Release
    x0: Tensor
    labels: Tensor | None


def take_few(calibration: Calibration, count: int, label: int | None = None) -> FewMembers:
    """`count` random calibration members, or all where there are fewer; of one label where it is given and there are
    any. The same for all attacks."""
    held: list[Release] = []

    def take(view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        held.append(view.release)
        return images

    x0, labels = calibration.ask(take), calibration.labels
    members = torch.from_numpy(calibration.is_member).to(x0.device)
    if label is not None and labels is not None and bool((members & (labels == label)).any()):
        members &= labels == label
    rows = members.nonzero()[:, 0]
    order = calibration.streams.of("attacking", "own", "few members").uniform(rows).argsort()
    rows = rows[order[:count]]
    return FewMembers(held[0], x0[rows], None if labels is None else labels[rows])
