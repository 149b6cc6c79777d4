"""Data sets of a user's own in one .npz file, read without pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from leakbench.data import generated_npz
from leakbench.data.dataset import PARTS, Dataset
from leakbench.data.group_names import NumberedGroups, number_names
from leakbench.data.image_cache import Pack, identify_file, pack_images
from leakbench.data.npz_blocks import NpzArray, open_array
from leakbench.runtime.errors import UsageError
from leakbench.runtime.npz_file import read_npz
from leakbench.runtime.paths import user_path

OPTIONAL = ("labels", "attribute", "split", "index", "group")
_LARGE = 2**26  # bytes of images from which on they are unpacked into the cache


def npz(argument: str) -> Dataset:
    """npz:PATH: `images` uint8 (N, H, W) or (N, H, W, C), and optional `labels`, `attribute`, `split`, `index`
    and `group`.

    Images that a generator wrote as `x` with labels `y` are read as well (leakbench.data.generated_npz).

    `labels`, `attribute`: whole numbers (N,). `split`: words (N,). `index`: whole numbers (N,), an image's position in
    its publisher's order. `group`: whole numbers or words (N,), the person or scene that an image is of.
    """
    path = user_path(argument)
    if not argument or not path.is_file():
        raise UsageError(f"dataset 'npz:{argument}': no such file; write npz:PATH with the path of an .npz file")
    arrays, images, large = _read_npz(path)
    data = build_dataset(f"npz:{path.name}", path, images, arrays)
    return data if large is None else replace(data, pixels=large.pixels, folder=large.folder)


def build_dataset(name: str, path: Path, images: np.ndarray, arrays: dict[str, np.ndarray]) -> Dataset:
    """The data set of images and the OPTIONAL arrays of each, which are checked; `path` is named in errors. Raises
    UsageError."""
    if images.dtype != np.uint8:
        hint = " (NaN or infinite values among them)" if _has_nan(images) else ""
        raise UsageError(f"{path}: images: dtype is {images.dtype}{hint}; it must be uint8, 0 to 255")
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise UsageError(f"{path}: images: shape is {shape}; it must be (N, H, W) or (N, H, W, 1 or 3)")
    keys = ("labels", "attribute", "index")
    labels, attribute, index = (integers(path, key, arrays.get(key), len(images)) for key in keys)
    split = _words(path, arrays.get("split"), len(images))
    group, names = whole_or_named(path, "group", arrays.get("group"), len(images)) or (None, None)
    return Dataset(name, images, labels, attribute, split=split, index=index, group=group, group_names=names)


def read_arrays(path: Path, keys: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an .npz file that stand under `keys`, and the names of all others; pickled objects are refused,
    never loaded. Raises UsageError."""
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path}: is not an .npz file; write one with numpy.savez(path, {keys[0]}=...)")
    return read_npz(path, keys)


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], np.ndarray, Pack | None]:
    """The arrays beside the images, the images, and their pack where they are too large to be read whole."""
    large = _large_images(path)
    if large is not None:
        arrays, _ = read_arrays(path, OPTIONAL)
        return arrays, large.images, large
    arrays, others = read_arrays(path, ("images", *OPTIONAL))
    if "images" not in arrays and generated_npz.IMAGES in others:
        found, _ = read_arrays(path, (generated_npz.IMAGES, generated_npz.LABELS))
        labels = {"labels": found[generated_npz.LABELS]} if generated_npz.LABELS in found else {}
        return {**labels, **arrays}, generated_npz.to_pixels(path, found[generated_npz.IMAGES]), None
    if "images" not in arrays:
        raise UsageError(f"{path}: key 'images' is missing; it must hold uint8 images (N, H, W) or (N, H, W, C)")
    return arrays, arrays["images"], None


def _large_images(path: Path) -> Pack | None:
    """The images, unpacked into the cache, if they are uint8, many and in a file that can be read; None leaves it to
    numpy's reader, and to what is said about files that it cannot read."""
    try:
        array = open_array(path, "images")
    except UsageError:
        return None
    if array.bytes < _LARGE or array.dtype != np.uint8 or len(array.shape) not in (3, 4):
        return None
    pack = pack_images("npz", {"file": identify_file(path), "path": str(path.resolve())}, lambda _: _blocks(array))
    return replace(pack, images=pack.images.reshape(array.shape))


def _blocks(array: NpzArray) -> Iterator[tuple[np.ndarray, None]]:
    for block in array.blocks:
        yield block.reshape(*block.shape[:3], -1), None


def _has_nan(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and not bool(np.isfinite(array).all())


def integers(path: Path | str, key: str, array: np.ndarray | None, count: int) -> np.ndarray | None:
    if array is None:
        return None
    if array.shape not in ((count,), (count, 1)):
        raise UsageError(f"{path}: {key}: shape is {array.shape}; it must be ({count},), one number an image")
    whole = array.dtype.kind in "biuf" and not _has_nan(array) and np.array_equal(array, np.trunc(array))
    if not whole or array.min() < 0:
        raise UsageError(f"{path}: {key}: must be whole numbers from 0 up (dtype is {array.dtype})")
    return array.reshape(count).astype(np.int64)


def whole_or_named(path: Path | str, key: str, array: np.ndarray | None, count: int) -> NumberedGroups | None:
    """Groups of `count` images, whole numbers from 0 up or words; None for None. Raises UsageError."""
    if array is None:
        return None
    if array.dtype.kind not in "SU":
        numbers = integers(path, key, array, count)
        assert numbers is not None
        return NumberedGroups(numbers)
    words = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
    if words.shape not in ((count,), (count, 1)):
        raise UsageError(f"{path}: {key}: shape is {words.shape}; it must be ({count},), one name an image")
    names = [word.strip() for word in words.reshape(count).tolist()]
    if not all(names):
        raise UsageError(f"{path}: {key}: is empty at {names.index('')}; one who is on no other image gets a name too")
    return number_names(names)


def _words(path: Path, array: np.ndarray | None, count: int) -> np.ndarray | None:
    if array is None:
        return None
    words = np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array
    unknown = sorted(set(words.ravel().tolist()) - {*PARTS, "pool"}) if words.dtype.kind == "U" else []
    what = ""
    if words.dtype.kind != "U":
        what = f"dtype is {array.dtype}, not text"
    elif array.shape != (count,):
        what = f"shape is {array.shape}, not ({count},)"
    elif unknown:
        what = f"unknown word {unknown[0]!r}"
    if what:
        hint = "; leave it out, or save numpy.array(['member', 'nonmember', 'pool'])[split]" * (
            words.dtype.kind in "iu"
        )
        raise UsageError(f"{path}: split: {what}; it must hold one word an image: {', '.join(PARTS)} or pool{hint}")
    return words
