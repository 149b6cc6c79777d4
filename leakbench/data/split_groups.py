"""Groups (people, patients, scenes) in the parts of a split, and those that are on both sides of it.

A group is on both sides where some of its images are trained on and others are held out: the split of a data set's own
words, of an index file or of folders of members and nonmembers may do that, a draw never does. Whether *these images*
were used is then another question than whether *anything of this person* was: of the latter the answer is yes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from leakbench.data.dataset import PARTS
from leakbench.data.split import Split

Unit = Literal["image", "person", "identity"]  # the last two: leakbench.metrics.evaluate.persons

_ATTACKED = ("member", "nonmember", "calibration_in", "calibration_out")
_HELD_OUT = ("nonmember", "calibration_out", "reference")


@dataclass(frozen=True)
class SplitGroups:
    """by_part: number of groups in each part. shared: the groups on both sides, int64, in order. shared_nonmembers:
    reported nonmembers that are of these."""

    by_part: dict[str, int]
    shared: np.ndarray
    shared_nonmembers: int


def find_split_groups(split: Split) -> SplitGroups | None:
    """The groups of a split; None where images do not come in groups."""
    if split.group is None:
        return None
    held_out = np.concatenate([split.parts[part] for part in _HELD_OUT])
    shared = np.intersect1d(split.group[split.train], split.group[held_out])
    theirs = int(np.isin(split.group[split.parts["nonmember"]], shared).sum())
    return SplitGroups({part: len(np.unique(split.group[split.parts[part]])) for part in PARTS}, shared, theirs)


def has_several(groups: np.ndarray) -> bool:
    """Some group has several images."""
    return len(np.unique(groups)) < len(groups)


def list_units(split: Split) -> tuple[Unit, ...]:
    """What membership attacks are asked about: images; people, where some have several; and whether anything of them
    was used, where images of theirs were held back. Of few images, images alone, whose tests permute people."""
    group = split.group
    if not len(split.parts["calibration_in"]):  # persons' scores are joined as calibration asks
        return ("image",)
    if group is None or not any(has_several(group[split.parts[part]]) for part in _ATTACKED):
        return ("image",)
    return ("image", "person", "identity") if split.others else ("image", "person")


def groups_of_copies(split: Split, nearest: np.ndarray) -> dict[str, np.ndarray]:
    """The groups of training images (N,), by their place among these, and of the images of the null of copies, by the
    names of a ReplicationEvidence; nothing without groups."""
    if split.group is None:
        return {}
    return {
        "copied_groups": split.group[split.train[nearest]],
        "heldout_groups": split.group[split.parts["nonmember"]],
    }
