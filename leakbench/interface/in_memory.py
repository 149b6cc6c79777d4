"""Models and images that stand in memory, where the harness takes paths.

They are written once below the cache folder, under the digest of what they hold: the same pipeline or array is the same
path in every call, so that nothing is done again, and workers and a later process find it. No one else sees the folder
(mode 0700): it holds pictures of members. `leakbench.audit` accepts both wherever it takes a path.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    import numpy as np


def locate_model(model: Any) -> str:
    """The path or hub id of a model; a diffusers pipeline is written by its own `save_pretrained` first.

    Raises UsageError for what is neither.
    """
    if isinstance(model, str | PathLike):
        return fspath(model)
    if not hasattr(model, "save_pretrained"):
        raise UsageError(
            f"model: a {type(model).__name__}: give a diffusers pipeline, its folder, a hub id, "
            "or a function of (prompt, seed, image)"
        )
    return str(_store(type(model).__name__, model.save_pretrained))


def locate_images(given: dict[str, Any], groups: Any = None) -> dict[str, str]:
    """The paths or data set names of image sets, by the name of the argument that each was given as; tensors, arrays
    and lists of PIL images are written as .npz files first.

    Arrays: (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels; whole numbers are levels 0 to 255; floats are
    in [0, 1], or in [-1, 1] if a value of any of the sets is negative, and are rounded to levels. Where both the second
    and the last axis could be the channels, a tensor's are the second and an array's the last. groups: whose the images
    of the first two sets are, a number or a name each.

    Raises UsageError for another shape, type or range.
    """
    arrays = {name: _to_array(name, one) for name, one in given.items() if not isinstance(one, str | PathLike)}
    signed = any(array.dtype.kind == "f" and array.size and array.min() < 0 for array in arrays.values())
    found = {name: fspath(one) for name, one in given.items() if name not in arrays}
    whose = {} if groups is None else _pair_groups(list(given), groups, arrays)
    return found | {
        name: _write_images(name, _to_levels(name, array, signed), whose.get(name)) for name, array in arrays.items()
    }


def _pair_groups(names: list[str], groups: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The groups of members and of nonmembers, by name. Raises UsageError."""
    import numpy as np

    sides = names[:2]
    if not isinstance(groups, tuple | list) or len(groups) != len(sides):
        raise UsageError(f"groups: a {type(groups).__name__}: give a CSV file, or two lists: of members, of nonmembers")
    for name, one in zip(sides, groups, strict=True):
        if name not in arrays:
            raise UsageError(f"groups: {name} are no images in memory: give a CSV file with the columns file and group")
        if len(one) != len(arrays[name]):
            raise UsageError(f"groups: {len(one)} for {len(arrays[name])} {name}: give one an image")
    known = (np.asarray(one) for one in groups)  # a column of words is one of objects: those would be pickled
    return {name: one.astype(str) if one.dtype.kind == "O" else one for name, one in zip(sides, known, strict=True)}


def _to_array(name: str, images: Any) -> np.ndarray:
    """Images as (N, H, W) or (N, H, W, C)."""
    import numpy as np

    first = hasattr(images, "detach")
    if first:
        images = images.detach().cpu().float().numpy() if images.is_floating_point() else images.detach().cpu().numpy()
    try:
        array = np.asarray(images if isinstance(images, np.ndarray) else [np.asarray(one) for one in images])
    except (TypeError, ValueError):
        raise UsageError(
            f"{name}: a {type(images).__name__}: give a folder, an .npz file, the name of a data set, or "
            "images of one size as a tensor, an array, or a list of PIL images"
        ) from None
    axes = [axis for axis in ((1, 3) if first else (3, 1)) if array.ndim == 4 and array.shape[axis] in (1, 3)]
    if array.ndim != 3 and not axes:
        raise UsageError(f"{name}: shape {array.shape}: images are (N, H, W), (N, C, H, W) or (N, H, W, C), C 1 or 3")
    return array if array.ndim == 3 or axes[0] == 3 else np.moveaxis(array, 1, 3)


def _to_levels(name: str, array: np.ndarray, signed: bool) -> np.ndarray:
    """Levels 0 to 255 as uint8."""
    import numpy as np

    low, high = (-1 if signed else 0, 1) if array.dtype.kind == "f" else (0, 255)
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name}: values of type {array.dtype}: they must be whole numbers, 0 to 255, or floats")
    if not array.size:
        raise UsageError(f"{name}: no images")
    if not (np.isfinite(array).all() and low <= array.min() and array.max() <= high):
        raise UsageError(
            f"{name}: values from {array.min():g} to {array.max():g}: {array.dtype} goes from {low} to {high}"
        )
    if array.dtype.kind != "f":
        return array.astype(np.uint8)
    levels: np.ndarray = np.rint((array.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
    return levels


def _write_images(name: str, levels: np.ndarray, group: np.ndarray | None = None) -> str:
    import numpy as np

    file = f"{name}.npz"  # the name of a data set seeds the noise of attacks: the same for the same argument

    def write(folder: Path) -> None:
        if group is None:
            np.savez(folder / file, images=levels)
        else:
            np.savez(folder / file, images=levels, group=group)

    return str(_store(name, write) / file)


def _store(name: str, write: Callable[[Path], object]) -> Path:
    """The folder NAME-DIGEST of what `write` writes into a folder."""
    home = cache_root() / "in_memory"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = Path(tempfile.mkdtemp(dir=home))
    try:
        write(written)
        path = home / f"{name}-{_digest(written)}"
        try:
            written.rename(path)
        except OSError:  # it stands there already, perhaps since a moment ago
            if not path.is_dir():
                raise
        return path
    finally:
        shutil.rmtree(written, ignore_errors=True)


def _digest(folder: Path) -> str:
    """Of the names and contents of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        found.update(f"{path.relative_to(folder)}\0".encode() + content)
    return found.hexdigest()[:16]
