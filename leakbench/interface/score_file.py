"""Reader of an .npz file of scores that another script made.

Keys, each an array of one number an image, higher = more likely a member:
    member_scores, nonmember_scores       or   scores and member (true or false an image)
    member_labels, nonmember_labels       or   labels; whole numbers; optional: leakage by class
    calibration_member_scores, calibration_nonmember_scores     optional: of images that are not reported
    member_group, nonmember_group         or   group; whole numbers or text; optional: whose each image is
    calibration_member_group, calibration_nonmember_group       optional: the same of calibration images
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.data import integers, read_arrays
from leakbench.data.group_names import name_groups
from leakbench.data.npz import whole_or_named
from leakbench.interface.score_arrays import ScoreArrays, Sides, check_groups, check_labels, check_numbers, check_scores
from leakbench.runtime.errors import UsageError

_SCORES = ("member_scores", "nonmember_scores")
_CALIBRATION = ("calibration_member_scores", "calibration_nonmember_scores")
_LABELS = ("member_labels", "nonmember_labels")
_GROUPS = ("member_group", "nonmember_group")
_CALIBRATION_GROUPS = ("calibration_member_group", "calibration_nonmember_group")
_TOGETHER = ("scores", "member", "labels", "group")
_KEYS = (*_SCORES, *_CALIBRATION, *_LABELS, *_GROUPS, *_CALIBRATION_GROUPS, *_TOGETHER)


@dataclass(frozen=True)
class ScoreFile:
    """Contents of a file of scores.

    arrays: what is evaluated. positions: of each member and each nonmember in the file's array. not_read: names of
    arrays that mean nothing here.
    """

    arrays: ScoreArrays
    positions: Sides
    not_read: list[str]


def read_score_file(path: Path) -> ScoreFile:
    """Read and check the file. Raises UsageError, in one line that names the key, for whatever is wrong with it."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of an .npz file")
    arrays, not_read = read_arrays(path, _KEYS)
    if "scores" in arrays or "member" in arrays:
        arrays, positions = _split_sides(path, arrays)
    else:
        first, second = (np.arange(np.size(arrays.get(key, ()))) for key in _SCORES)
        positions = first, second
    scores = check_scores(path, _SCORES, _pair(arrays, _SCORES))
    if scores is None:
        raise UsageError(
            f"{path}: key 'member_scores' is missing; it must hold member_scores and nonmember_scores, or scores and "
            f"member; it has: {', '.join(sorted({*arrays, *not_read})) or 'nothing'}"
        )
    labels = check_labels(path, _LABELS, _pair(arrays, _LABELS), scores)
    if labels is None and "labels" in arrays:
        raise UsageError(f"{path}: labels: belongs to scores and member; give member_labels and nonmember_labels")
    if _GROUPS[0] not in arrays and "group" in arrays:
        raise UsageError(f"{path}: group: belongs to scores and member; give member_group and nonmember_group")
    calibration = check_scores(path, _CALIBRATION, _pair(arrays, _CALIBRATION))
    named = [(keys, _pair(arrays, keys), of) for keys, of in ((_GROUPS, scores), (_CALIBRATION_GROUPS, calibration))]
    return ScoreFile(ScoreArrays(scores, calibration, labels, *check_groups(path, named)), positions, not_read)


def _pair(arrays: Mapping[str, np.ndarray], keys: tuple[str, str]) -> tuple[np.ndarray | None, np.ndarray | None]:
    return arrays.get(keys[0]), arrays.get(keys[1])


def _split_sides(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Sides]:
    """Split `scores`, `member`, `labels` and `group` into the keys of each side; also its positions in the file."""
    twice = [key for key in (*_SCORES, *_LABELS, *_GROUPS) if key in arrays]
    missing = [key for key in _TOGETHER[:2] if key not in arrays]
    if twice or missing:
        what = f"{twice[0]} and scores are both there" if twice else f"key {missing[0]!r} is missing"
        raise UsageError(f"{path}: {what}; give scores and member, or member_scores and nonmember_scores")
    scores, member = check_numbers(path, "scores", arrays["scores"]), arrays["member"]
    told = member.dtype.kind in "biu" and member.shape == scores.shape and bool(np.isin(member, (0, 1)).all())
    if not told:
        raise UsageError(
            f"{path}: member: {member.dtype} of shape {member.shape}; it must be {scores.shape}, true or false an image"
        )
    inside = member.astype(bool)
    fewer = min(np.count_nonzero(inside), np.count_nonzero(~inside))
    if fewer < 2:
        raise UsageError(
            f"{path}: member: has {fewer} images on a side; at least 2 members and 2 nonmembers are needed"
        )
    apart = {"member_scores": scores[inside], "nonmember_scores": scores[~inside]}
    labels = integers(path, "labels", arrays.get("labels"), scores.size)
    if labels is not None:
        apart |= {"member_labels": labels[inside], "nonmember_labels": labels[~inside]}
    groups = whole_or_named(path, "group", arrays.get("group"), scores.size)
    if groups is not None:
        named = np.array(name_groups(*groups))
        apart |= {"member_group": named[inside], "nonmember_group": named[~inside]}
    others = {key: array for key, array in arrays.items() if key not in _TOGETHER}
    return others | apart, (np.flatnonzero(inside), np.flatnonzero(~inside))
