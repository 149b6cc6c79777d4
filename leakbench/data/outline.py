"""Members and nonmembers as far as headers tell, in the form of a data set whose pixels nobody may look at.

Which images are near-duplicates, the same on both sides or broken is not known before they are decoded.
"""

from __future__ import annotations

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.folder_headers import FolderHeaders
from leakbench.data.headers import Headers, peek
from leakbench.data.member_folders import SHARES, are_few, check_alike, draw_words
from leakbench.data.side_groups import number_sides_together


def outline_sides(names: dict[str, str], channels: int, captions: str, seed: int, groups: str = "") -> Dataset | None:
    """The data set of both sides, with as many images in each part as there will be; None where headers do not tell.

    names: data sets by side, "members" and "nonmembers". channels: 1 or 3, which folders are brought to where that is
    possible. captions, groups: paths of the captions file and of a table of groups, or "". Raises UsageError as the
    data set itself does.
    """
    found = {side: peek(name) for side, name in names.items()}
    sides = [_outline(headers, channels) for headers in found.values() if headers is not None]
    if any(data is None for data in sides) or len(sides) < len(SHARES):
        return None
    members, nonmembers = (data for data in sides if data is not None)
    check_alike(members, nonmembers)
    members, nonmembers = number_sides_together(list(names.values()), (members, nonmembers), groups, captions)
    draws = np.random.default_rng([seed, 0x51DE5]).spawn(2)
    few = are_few(len(members.images), len(nonmembers.images))
    words = [
        draw_words(side, data, np.arange(len(data.images)), draw, few)
        for side, data, draw in zip(SHARES, (members, nonmembers), draws, strict=True)
    ]
    count = len(members.images) + len(nonmembers.images)
    return Dataset(
        f"{members.name} and {nonmembers.name}",
        _blank(count, members.shape),
        np.zeros(count, dtype=np.int64) if captions else _joined(members.labels, nonmembers.labels),
        split=np.concatenate(words),
        group=_joined(members.group, nonmembers.group),
        group_names=members.group_names,
        few=few,
    )


def _outline(headers: Headers, channels: int) -> Dataset | None:
    shape = headers.shape_for(channels) if isinstance(headers, FolderHeaders) else headers.shape
    if shape is None:
        return None
    group, known = headers.groups or (None, None)
    return Dataset(headers.name, _blank(headers.count, shape), headers.labels, group=group, group_names=known)


def _blank(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Images (count, H, W, C) that take no memory."""
    channels, height, width = shape
    return np.broadcast_to(np.uint8(0), (count, height, width, channels))


def _joined(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])
