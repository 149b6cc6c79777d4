"""What a defense is given to train on, and what training makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from leakbench.api.defense import Defense
    from leakbench.api.release import Release
    from leakbench.device import Streams
    from leakbench.diffusion import Schedule
    from leakbench.networks import Network, NetworkSpec


@dataclass(frozen=True)
class Task:
    """What a defense is given to train on. Nothing here says which images will be reported.

    images: the training images (member and calibration_in together, in the order of the data set).
    labels, attribute: int64 (N,) or None.
    condition: what the network is conditioned on: "none", "label" or "attribute".
    groups: int64 (N,): images that are near-duplicates share a number.
    heldout: real images of the data set's `reference` part, never trained on and never reported.
    forget: bool (N,), which training images the suite's [forget] table names, for a defense that `forgets`; else None.
    forget_label: the label that is to be forgotten, or None where the set is a random subset.
    below: the defenses under this one, from the one that trains the network upwards.
    base: the release that this defense builds on (`base = "<id>"` in the suite), or None.
    folder: where checkpoints may lie; progress: told the share of training done, 0 to 1.
    """

    images: Tensor
    labels: Tensor | None
    attribute: Tensor | None
    condition: str
    groups: Tensor
    heldout: Tensor
    network: NetworkSpec
    schedule: Schedule
    streams: Streams
    device: torch.device
    forget: Tensor | None = None
    forget_label: int | None = None
    below: tuple[Defense, ...] = ()
    base: Release | None = None
    folder: Path | None = None
    progress: Callable[[float], None] | None = None

    @property
    def conditions(self) -> Tensor | None:
        """The labels that the network is conditioned on, or None."""
        return {"none": None, "label": self.labels, "attribute": self.attribute}[self.condition]

    def only(self, keep: Tensor) -> Task:
        """The task with some of its training images, by a mask or by numbers (N,)."""
        chosen = {
            name: value[keep]
            for name in ("images", "labels", "attribute", "groups", "forget")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **chosen)


@dataclass(frozen=True)
class Artefacts:
    """What training made: networks by name, further tensors by name, and JSON-able facts about the training.

    `info` keys that the harness understands: "train_seconds" (kept apart from a record's identity),
    "network_evaluations" (int); all else is written into the record as it is.
    """

    networks: dict[str, Network] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
