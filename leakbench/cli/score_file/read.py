"""Reader of an .npz file of scores that another script made.

Keys, each an array of one number an image, higher = more likely a member:
    member_scores, nonmember_scores       or   scores and member (true or false an image)
    member_labels, nonmember_labels       or   labels; whole numbers; optional: leakage by class
    calibration_member_scores, calibration_nonmember_scores     optional: of images that are not reported
With calibration scores the sign and the threshold of balanced accuracy come from them; without, scores are taken as
they are. NaN counts as the least member-like score, and is flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.data import integers, read_arrays
from leakbench.runtime.errors import UsageError

_PAIRS = (
    ("member_scores", "nonmember_scores"),
    ("calibration_member_scores", "calibration_nonmember_scores"),
    ("member_labels", "nonmember_labels"),
)
_TOGETHER = ("scores", "member", "labels")
_KEYS = (*(key for pair in _PAIRS for key in pair), *_TOGETHER)

Sides = tuple[np.ndarray, np.ndarray]  # of members, of nonmembers


@dataclass(frozen=True)
class ScoreFile:
    """Contents of a file of scores.

    scores: raw scores of members and nonmembers, float64. index: each member's position in the file's array.
    calibration: scores of images that are not reported, of both sides. labels: class of each image, of both sides.
    not_read: names of arrays that mean nothing here.
    """

    scores: Sides
    index: np.ndarray
    calibration: Sides | None
    labels: Sides | None
    not_read: list[str]


def read_scores(path: Path) -> ScoreFile:
    """Read and check the file. Raises UsageError, in one line that names the key, for whatever is wrong with it."""
    arrays, not_read = _arrays(path)
    if "scores" in arrays or "member" in arrays:
        arrays, index = _split_sides(path, arrays)
    else:
        index = np.arange(np.size(arrays.get("member_scores", ())))
    scores = _both(path, arrays, _PAIRS[0])
    if scores is None:
        raise UsageError(
            f"{path}: key 'member_scores' is missing; it must hold member_scores and nonmember_scores, or scores and "
            f"member; it has: {', '.join(sorted({*arrays, *not_read})) or 'nothing'}"
        )
    labels = None
    if _present(path, arrays, _PAIRS[2]):
        labels = _labels(path, arrays, scores)
    elif "labels" in arrays:
        raise UsageError(f"{path}: labels: belongs to scores and member; give member_labels and nonmember_labels")
    return ScoreFile(scores, index, _both(path, arrays, _PAIRS[1]), labels, not_read)


def _split_sides(path: Path, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Split `scores`, `member` and `labels` into the keys of each side; also the members' positions in the file."""
    twice = [key for key in (*_PAIRS[0], *_PAIRS[2]) if key in arrays]
    missing = [key for key in _TOGETHER[:2] if key not in arrays]
    if twice or missing:
        what = f"{twice[0]} and scores are both there" if twice else f"key {missing[0]!r} is missing"
        raise UsageError(f"{path}: {what}; give scores and member, or member_scores and nonmember_scores")
    scores, member = _numbers(path, "scores", arrays["scores"]), arrays["member"]
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
    others = {key: array for key, array in arrays.items() if key not in _TOGETHER}
    return others | apart, np.flatnonzero(inside)


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """All known arrays of the file, and the names of the others."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of an .npz file")
    return read_arrays(path, _KEYS)


def _present(path: Path, arrays: Mapping[str, np.ndarray], pair: tuple[str, str]) -> bool:
    """True if both keys of a pair are in the file, False if neither is. Raises UsageError for one alone."""
    missing = [key for key in pair if key not in arrays]
    if len(missing) == 1:
        raise UsageError(f"{path}: key {missing[0]!r} is missing; {pair[0]} and {pair[1]} come together")
    return not missing


def _both(path: Path, arrays: Mapping[str, np.ndarray], pair: tuple[str, str]) -> Sides | None:
    if not _present(path, arrays, pair):
        return None
    first, second = (_numbers(path, key, arrays[key]) for key in pair)
    return first, second


def _numbers(path: Path, key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{path}: {key}: dtype is {array.dtype}; it must be numbers, one an image")
    if array.shape not in ((array.size,), (array.size, 1)):
        raise UsageError(f"{path}: {key}: shape is {array.shape}; it must be (N,), one number an image")
    if array.size < 2:
        raise UsageError(f"{path}: {key}: has {array.size} scores; at least 2 are needed")
    return array.reshape(-1).astype(np.float64)


def _labels(path: Path, arrays: Mapping[str, np.ndarray], scores: Sides) -> Sides:
    inside, outside = (integers(path, key, arrays[key], side.size) for key, side in zip(_PAIRS[2], scores, strict=True))
    assert inside is not None and outside is not None
    return inside, outside
