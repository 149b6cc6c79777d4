"""Tasks that a defense trains on, and artefacts that its training makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.models.release import Release, inherit
from leakbench.runtime.plugin import Plugin

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from leakbench.data.image_view import ImageView
    from leakbench.models.diffusion import Schedule
    from leakbench.models.networks import Network, NetworkSpec
    from leakbench.runtime.device import Rng


UPDATES = "updates"  # name of the part that the release of a training with gradient canaries ships


@dataclass(frozen=True)
class GradientCanaries:
    """Canaries that stand in for training images by their gradients.

    number: int64 (N,), the canary that each training image stands for, -1 where it is itself. ids: int64 (R,), the
    image numbers of all canaries, those among them that no step trains on. canary: int64 (R,), the canary of each of
    these: where images come in groups, all images of a group are one; None where each is its own. A training that
    takes them gives an image of canary k, whenever it is drawn, a gradient of one entry, the clip, at a weight that is
    the canary's own, and ships how much its updates speak for each, UPDATES: float (1 + the largest of ids,), of an
    image's canary at its number, higher = more likely trained on.
    """

    number: Tensor
    ids: Tensor
    canary: Tensor | None = None

    @property
    def count(self) -> int:
        """M, the number of canaries."""
        return len(self.ids) if self.canary is None else int(self.canary.max()) + 1

    @property
    def sizes(self) -> Tensor:
        """The number of images of each canary, int64 (M,)."""
        return self.ids.new_ones(len(self.ids)) if self.canary is None else self.canary.bincount()

    def by_id(self, scores: Tensor) -> Tensor:
        """UPDATES of a score for each canary (M,); 0 at images that are none."""
        found = scores.new_zeros(int(self.ids.max()) + 1)
        found[self.ids.to(scores.device)] = scores if self.canary is None else scores[self.canary.to(scores.device)]
        return found


@dataclass(frozen=True)
class Task:
    """Task of a defense: the data, the network and all else that it trains with.

    Nothing here says which images will be reported.

    images: the training images (member and calibration_in together, in the order of the data set). They are made when
        asked for: `images[batch.index]` is a batch, `images[:]` all of them, tensors (n, C, H, W); a tensor may stand
        in their place.
    labels, attribute: int64 (N,) or None.
    groups: int64 (N,), the number of the person, patient or scene that each image is of; None where images come in no
        groups.
    condition: what the network is conditioned on: "none", "label" or "attribute".
    near_duplicates: `near_duplicate_groups`, or a function that finds them, called once somebody asks.
    heldout: real images of the data set's `reference` part, never reported, and trained on by none but what calls
        them public (`pretrain`, `private_selection`); as `images`.
    heldout_conditions: what the network is conditioned on, of these images, int64 (M,); None as `conditions` is.
    forget: bool (N,), which training images the suite's [forget] table names, for a defense that `forgets`; else None.
    forget_label: the label that is to be forgotten, or None where the set is a random subset.
    gradient_canaries: of an audit's training: the images whose gradients are made; None in all others.
    chain: the defenses under this one, from the one that trains the network upwards.
    base: the release that this defense builds on (`base = "<id>"` in the suite), or None.
    folder: where checkpoints may lie; progress: told the share of training done, 0 to 1.
    """

    images: ImageView
    labels: Tensor | None
    attribute: Tensor | None
    condition: str
    near_duplicates: Tensor | Callable[[], Tensor]
    heldout: ImageView
    network: NetworkSpec
    schedule: Schedule
    streams: Rng
    device: torch.device
    groups: Tensor | None = None
    forget: Tensor | None = None
    forget_label: int | None = None
    gradient_canaries: GradientCanaries | None = None
    chain: tuple[Plugin, ...] = ()
    base: Release | None = None
    heldout_conditions: Tensor | None = None
    folder: Path | None = None
    progress: Callable[[float], None] | None = None

    @property
    def conditions(self) -> Tensor | None:
        """The labels that the network is conditioned on, or None."""
        return {"none": None, "label": self.labels, "attribute": self.attribute}[self.condition]

    @cached_property
    def near_duplicate_groups(self) -> Tensor:
        """Group number of each image, int64 (N,): near-duplicates share one."""
        return self.near_duplicates() if callable(self.near_duplicates) else self.near_duplicates

    def release(self, network: nn.Module, kind: type[Release] = Release, **more: Any) -> Release:
        """The release of a network, with the schedule of the task's base (or its own), its streams, shape and device.

        Guarantee and flags of the base follow the rule of `Release.wrap`. `kind`: the class of the release.
        """
        if self.base is not None:
            inherit(more, self.base)
            more.setdefault("codec", self.base.codec)
        schedule = more.pop("schedule", self.base.schedule if self.base else self.schedule)
        return kind(network, schedule, self.streams, self.network.shape, self.device, **more)

    def subset(self, keep: Tensor) -> Task:
        """The task with some of its training images, by a mask or by numbers (N,)."""
        chosen: dict[str, Any] = {
            name: value[keep]
            for name in ("labels", "attribute", "groups", "forget")
            if (value := getattr(self, name)) is not None
        }
        if self.gradient_canaries is not None:
            chosen["gradient_canaries"] = replace(self.gradient_canaries, number=self.gradient_canaries.number[keep])
        images: Any = self.images.subset(keep) if hasattr(self.images, "subset") else self.images[keep]
        return replace(self, images=images, near_duplicates=lambda: self.near_duplicate_groups[keep], **chosen)


@dataclass(frozen=True)
class Artefacts:
    """Artefacts of a training: networks by name, further tensors by name, and JSON-able facts about the training.

    `info` keys that the harness understands: "train_seconds" (kept apart from a record's identity),
    "network_evaluations" (int); all else is written into the record as it is.
    """

    networks: dict[str, Network] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
