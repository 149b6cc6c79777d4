"""Arrays of images by their headers: how many, of which size and type, without reading a pixel or importing torch."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.data import generated_npz
from leakbench.data.group_names import NumberedGroups
from leakbench.data.npz import read_arrays, whole_or_named
from leakbench.data.npz_blocks import open_array
from leakbench.runtime.errors import UsageError
from leakbench.runtime.npz_file import ARRAY_FAULTS, array_error
from leakbench.runtime.paths import user_path


@dataclass(frozen=True)
class ArrayHeader:
    """Facts about the images of an .npz or .npy file that its header tells.

    name: of the data set. path: the file. count: images. shape: channels, height and width. dtype: numpy's name of the
    type of a pixel. labels: int64 (N,), or None. groups: whose each image is, or None.
    """

    name: str
    path: Path
    count: int
    shape: tuple[int, int, int]
    dtype: str
    labels: np.ndarray | None
    groups: NumberedGroups | None = None


def read_npz_header(argument: str) -> ArrayHeader:
    """Read the header of the images of npz:PATH (without `npz:`): of `images`, or of `x` where a generator wrote it.

    Labels and groups are read whole. Raises UsageError.
    """
    path = user_path(argument)
    if not argument or not path.is_file():
        raise UsageError(f"dataset 'npz:{argument}': no such file; write npz:PATH with the path of an .npz file")
    generated = _keys(path) >= {generated_npz.IMAGES} and "images" not in _keys(path)
    images, labels = (generated_npz.IMAGES, generated_npz.LABELS) if generated else ("images", "labels")
    array = open_array(path, images)
    shape = _shape(path, images, array.shape, channels_first=generated and array.dtype.kind == "f")
    known, _ = read_arrays(path, (labels, "group"))
    groups = whole_or_named(path, "group", known.get("group"), array.shape[0])
    return ArrayHeader(f"npz:{path.name}", path, array.shape[0], shape, str(array.dtype), known.get(labels), groups)


def read_npy_header(argument: str) -> ArrayHeader:
    """Read the header of npy:FILE.npy or of images.npy in npy:DIR (without `npy:`). Raises UsageError."""
    path = user_path(argument)
    file = path / "images.npy" if path.is_dir() else path
    if not argument or not file.is_file():
        raise UsageError(f"dataset 'npy:{argument}': no file {file}; write npy:FILE.npy, or npy:DIR with an images.npy")
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        labels, known = (_beside(path, name) for name in ("labels.npy", "group.npy"))
    except ARRAY_FAULTS as error:
        raise array_error(str(file), error, "numpy.save") from None
    shape = _shape(file, "images", array.shape, channels_first=False)
    groups = whole_or_named(path, "group", known, array.shape[0])
    return ArrayHeader(f"npy:{path.name}", file, array.shape[0], shape, str(array.dtype), labels, groups)


def _beside(path: Path, name: str) -> np.ndarray | None:
    """An array in a folder of arrays, if it is there."""
    file = path / name
    return np.load(file, allow_pickle=False) if path.is_dir() and file.is_file() else None


def _keys(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as packed:
            return {name.removesuffix(".npy") for name in packed.namelist()}
    except ARRAY_FAULTS:
        raise UsageError(f"{path}: is not an .npz file; write one with numpy.savez(path, images=...)") from None


def _shape(path: Path, key: str, shape: tuple[int, ...], channels_first: bool) -> tuple[int, int, int]:
    """Channels, height, width of one image."""
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    if len(shape) == 4:
        return (shape[1], shape[2], shape[3]) if channels_first else (shape[3], shape[1], shape[2])
    raise UsageError(f"{path}: {key}: shape is {shape}; it must be (N, H, W) or (N, H, W, 1 or 3)")
