"""Data sets of a user's own in .npy files: images stay where they lie, memory-mapped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.image_cache import hash_once, identify_file
from leakbench.data.npz import OPTIONAL, build_dataset
from leakbench.runtime.errors import UsageError
from leakbench.runtime.npz_file import ARRAY_FAULTS, array_error
from leakbench.runtime.paths import user_path

_LARGE = 2**26  # bytes of images from which on their hash is kept in the cache


def npy(argument: str) -> Dataset:
    """npy:FILE.npy, uint8 images (N, H, W) or (N, H, W, C); or npy:DIR with images.npy, and labels.npy, attribute.npy,
    split.npy, index.npy, group.npy as they are there (what an .npz holds under these names)."""
    path = user_path(argument)
    file = path / "images.npy" if path.is_dir() else path
    if not argument or not file.is_file():
        raise UsageError(f"dataset 'npy:{argument}': no file {file}; write npy:FILE.npy, or npy:DIR with an images.npy")
    images = _load(file, "r")
    places = {key: path / f"{key}.npy" for key in OPTIONAL} if path.is_dir() else {}
    arrays = {key: _load(place) for key, place in places.items() if place.is_file()}
    data = build_dataset(f"npy:{path.name}", file, images, arrays)
    if images.nbytes < _LARGE:
        return data
    pack = hash_once(data.images, {"path": str(file.resolve()), "file": identify_file(file)})
    return replace(data, pixels=pack.pixels, folder=pack.folder)


def _load(path: Path, mode: str | None = None) -> np.ndarray:
    """The array of a file, mapped where a mode is given. Raises UsageError, also for pickled objects."""
    try:
        return np.asanyarray(np.load(path, mmap_mode=mode, allow_pickle=False))  # type: ignore[arg-type]
    except ARRAY_FAULTS as error:
        raise array_error(str(path), error, "numpy.save") from None
