"""Index files: .npz files that say which positions of a data set are members and which are held out.

The half splits of CIFAR-10 and CIFAR-100 that SecMI published (Duan et al. 2302.01316), and that PIA, SimA and
ReDiffuse reuse, are such files: `mia_train_idxs` and `mia_eval_idxs`, 25,000 positions each in the official training
order, and a number `ratio`, which is not used. Choices of ours: members and calibration_in are drawn from the first
list, nonmembers and calibration_out from the second. What is left of the second list, and images in neither, are
`reference`. What is left of the first is used for nothing: a model that others trained on this split has seen it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.runtime.errors import UsageError

KEYS = ("mia_train_idxs", "mia_eval_idxs")


@dataclass(frozen=True)
class SplitFile:
    """A mask bool (N,) of a data set's images for each list, and the file's name and sha256 for reports."""

    members: np.ndarray
    heldout: np.ndarray
    description: str


def read_split_file(path: Path, data: Dataset) -> SplitFile:
    """Read the images of a data set that an index file names. Raises UsageError.

    A data set with `index` may hold a part of what the lists name; without it, a position is a row.
    """
    from leakbench.data.npz import read_arrays

    if not path.is_file():
        raise UsageError(f"[split] file = {str(path)!r}: no such file; give the .npz of an index file")
    arrays, others = read_arrays(path, KEYS)
    for key in KEYS:
        if key not in arrays:
            raise UsageError(f"{path}: key {key!r} is missing (keys: {', '.join([*arrays, *others]) or 'none'})")
    first, second = lists = [_positions(path, key, arrays[key], data) for key in KEYS]
    both = np.intersect1d(first, second)
    if len(both):
        raise UsageError(f"{path}: {' and '.join(KEYS)} share {len(both)} positions, such as {both[0]}")
    order = np.arange(len(data.images)) if data.index is None else data.index
    masks = [np.isin(order, one) for one in lists]
    _check_unique(path, data, order[masks[0] | masks[1]])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SplitFile(masks[0], masks[1], f"{path.name}, sha256 {digest}")


def _positions(path: Path, key: str, array: np.ndarray, data: Dataset) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.ndim != 1 or not len(array):
        raise UsageError(f"{path}: {key}: {array.dtype} of shape {array.shape}; it must be a list of whole numbers")
    count = len(data.images)
    bad = array[(array < 0) | ((array >= count) if data.index is None else False)]
    if len(bad):
        raise UsageError(f"{path}: {key}: position {bad[0]} is out of range; {data.name} has 0 to {count - 1}")
    return np.unique(array.astype(np.int64))


def _check_unique(path: Path, data: Dataset, positions: np.ndarray) -> None:
    values, counts = np.unique(positions, return_counts=True)
    if (counts > 1).any():
        raise UsageError(
            f"{data.name}: index: position {values[counts > 1][0]}, which {path} names, stands at "
            f"{counts.max()} images; leave the test images out, or number them beyond the training images"
        )
