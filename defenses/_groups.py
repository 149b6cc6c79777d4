"""Images of people in differentially private training: which are kept, and people who are drawn whole.

Charles et al. 2024 (2407.07737) protect users by one of two samplings. Example-level (ELS): at most k images of each
are kept, and every image has a coin and a clip of its own; a user then moves a step's sum by up to k clips, but seldom.
User-level (ULS): a user has one coin, and the mean gradient of all their images is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from leakbench.api import Task
from leakbench.runtime.errors import UsageError

NO_GROUPS = (
    "the data do not say whose each image is: give images their `group`, or protect single images and leave "
    "`unit`, `sampling` and `group_size` out"
)


def known_groups(task: Task) -> Tensor:
    """The group of each image (N,), numbered from 0 without gaps. Raises UsageError where images have none."""
    if task.groups is None:
        raise UsageError(f"dp_sgd: {NO_GROUPS}")
    return task.groups.unique(return_inverse=True)[1]


def largest_group(task: Task) -> int | None:
    """The largest number of images of one group; None where images have none."""
    return None if task.groups is None else int(known_groups(task).bincount().max())


def keep_images(task: Task, most: int | None, whole: bool) -> Task:
    """The task with at most so many images of each group, drawn at random; `whole`: the images of a group side by side.

    None keeps all.
    """
    if most is None and not whole:
        return task
    number = known_groups(task)
    place = torch.arange(len(number))
    if most is not None:
        place = place[_rank(number, task.streams.of("kept", "dp_sgd").uniform(place)) < most]
    return task.subset(place[number[place].argsort(stable=True)] if whole else place)


def _rank(number: Tensor, key: Tensor) -> Tensor:
    """The rank of each image (N,) in its group, by a key (N,)."""
    order = key.argsort(stable=True)
    order = order[number[order].argsort(stable=True)]
    sizes = torch.bincount(number)
    rank = torch.empty_like(number)
    rank[order] = torch.arange(len(number)) - (sizes.cumsum(0) - sizes)[number[order]]
    return rank


def kept_sizes(sizes: Sequence[int], most: int | None) -> list[int]:
    """The number of images of each group that are kept."""
    return [size if most is None else min(size, most) for size in sizes]


@dataclass(frozen=True)
class Slots:
    """A table with a row a group and a slot an image, the rows of smaller groups filled up.

    place: int64 (G, S), the image in each slot. weight: (G, S), S over the group's number of images, so that the mean
    over a row is the mean over the group; 0 where a slot is filled up.
    """

    place: Tensor
    weight: Tensor

    @classmethod
    def of(cls, group: Tensor) -> Slots:
        """Slots of images (n,) with these groups, the images of a group side by side."""
        sizes = group.unique_consecutive(return_counts=True)[1]
        slot = torch.arange(int(sizes.max()) if len(sizes) else 1, device=group.device)
        there = slot < sizes[:, None]
        first = sizes.cumsum(0) - sizes
        place = first[:, None] + torch.where(there, slot, 0)
        return cls(place, there * (len(slot) / sizes[:, None]))

    @property
    def shape(self) -> tuple[int, int]:
        """Groups and slots."""
        groups, slots = self.place.shape
        return groups, slots
