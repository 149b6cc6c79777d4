"""Data sets and splits.

A data set is found by entry point (group `leakbench.datasets`): a function of what follows the colon in its name
(`npz:PATH`; nothing, or `high`, for `digits`) that returns a Dataset. Near-duplicates are removed before the split is
drawn, so that no image has a twin on the other side. The parts of a split:

    member          trained on, reported          calibration_in    trained on, never reported
    nonmember       not trained on, reported      calibration_out   not trained on, never reported
    reference       features, classifiers, thresholds: neither trained on nor reported
"""

from __future__ import annotations

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from leakbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("member", "calibration_in", "calibration_out", "nonmember", "reference")
DUPLICATE_RADIUS = 0.1  # root mean square pixel difference, pixels in [-1, 1] (a choice of ours)
_BLOCK = 256  # rows of a distance matrix that are held at one time
_FEWEST = 20  # images of a part below which no interval means anything


@dataclass(frozen=True)
class Dataset:
    """Images at rest: uint8 (N, H, W, C). labels, attribute: int64 (N,) or None.

    trait: a number an image, from which the sensitive attribute follows as "above the reference part's median".
    split: a word an image, one of PARTS, or "pool" to be drawn from; None: all pool.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray | None = None
    attribute: np.ndarray | None = None
    trait: np.ndarray | None = None
    split: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    @property
    def digest(self) -> str:
        """sha256 of all that it holds."""
        total = hashlib.sha256()
        for array in (self.images, self.labels, self.attribute, self.trait, self.split):
            total.update(
                b"none" if array is None else str(array.dtype).encode() + np.ascontiguousarray(array).tobytes()
            )
        return total.hexdigest()

    def tensors(self, index: np.ndarray) -> Tensor:
        """Images of these rows as float32 (N, C, H, W) in [-1, 1]."""
        import torch

        images = torch.from_numpy(np.ascontiguousarray(self.images[index])).permute(0, 3, 1, 2)
        return (images.float() / 127.5 - 1.0).contiguous()


class SplitSpec(BaseModel):
    """How many images go into each drawn part, and the seed of the draw. The rest of the pool is `reference`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(300, ge=1)
    nonmembers: int = Field(300, ge=1)
    calibration_in: int = Field(60, ge=1)
    calibration_out: int = Field(60, ge=1)
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Split:
    """Rows of the data set by part (sorted int64 arrays), the attribute of every row, and what was removed first."""

    parts: dict[str, np.ndarray]
    attribute: np.ndarray | None
    removed: int

    @property
    def train(self) -> np.ndarray:
        """Rows that are trained on: member and calibration_in, in the data set's order."""
        return np.sort(np.concatenate([self.parts["member"], self.parts["calibration_in"]]))

    @property
    def digest(self) -> str:
        """sha256 of the rows of every part."""
        total = hashlib.sha256()
        for part in PARTS:
            total.update(part.encode() + self.parts[part].astype(np.int64).tobytes())
        return total.hexdigest()


def draw_split(data: Dataset, spec: SplitSpec) -> Split:
    """Remove near-duplicates, then draw the parts from the pool at random. Raises UsageError if images are too few."""
    from leakbench.neighbours import near_duplicates

    rows = np.arange(len(data.images))
    keep = np.asarray(near_duplicates(data.tensors(rows), DUPLICATE_RADIUS * data.images[0].size ** 0.5), dtype=bool)
    words = np.full(len(rows), "pool") if data.split is None else data.split.astype(str)
    pool = np.random.default_rng([spec.seed, 0x5EED]).permutation(rows[keep & (words == "pool")])
    wanted = {
        "member": spec.members,
        "nonmember": spec.nonmembers,
        "calibration_in": spec.calibration_in,
        "calibration_out": spec.calibration_out,
    }
    parts = {part: rows[keep & (words == part)] for part in PARTS}
    for part, count in wanted.items():
        if data.split is None or not len(parts[part]):
            parts[part], pool = pool[:count], pool[count:]
    parts["reference"] = np.concatenate([parts["reference"], pool])
    parts = {part: np.sort(index) for part, index in parts.items()}
    _check_enough(data, parts, wanted, int(keep.sum()))
    attribute = data.attribute
    if attribute is None and data.trait is not None:
        attribute = (data.trait > np.median(data.trait[parts["reference"]])).astype(np.int64)
    return Split(parts, attribute, int((~keep).sum()))


def _check_enough(data: Dataset, parts: dict[str, np.ndarray], wanted: dict[str, int], left: int) -> None:
    for part in PARTS:
        least = min(wanted.get(part, _FEWEST), _FEWEST) if data.split is not None else wanted.get(part, _FEWEST)
        if len(parts[part]) < least:
            raise UsageError(
                f"{data.name}: too few images for the split: {left} are left after near-duplicates are removed, and "
                f"part '{part}' got {len(parts[part])} of at least {least}; "
                "give more images or ask for fewer under [split]"
            )


def near_duplicate_groups(images: Tensor) -> Tensor:
    """Group numbers (N,) int64: an image within DUPLICATE_RADIUS of an earlier one or of its mirror image joins it."""
    import torch

    flat, mirrored = images.flatten(1).double(), images.flip(-1).flatten(1).double()
    radius = DUPLICATE_RADIUS * flat.shape[1] ** 0.5
    closest, distance = torch.zeros(len(images), dtype=torch.int64), torch.full((len(images),), torch.inf)
    for start in range(0, len(images), _BLOCK):
        rows = slice(start, start + _BLOCK)
        far = torch.minimum(torch.cdist(flat[rows], flat), torch.cdist(mirrored[rows], flat))
        later = torch.arange(len(images)) >= torch.arange(len(images))[rows, None]
        found = far.masked_fill(later, torch.inf).min(dim=1)
        closest[rows], distance[rows] = found.indices, found.values.float()
    groups = torch.arange(len(images))
    for i in (distance <= radius).nonzero()[:, 0].tolist():  # few, and in order: earlier groups are final
        groups[i] = groups[closest[i]]
    return groups


def digits(argument: str) -> Dataset:
    """scikit-learn's 1,797 real handwritten digits, 8x8 grey; sensitive attribute: stroke weight.

    `digits:high`: the same images, and the attribute is whether the digit is 5 or more.
    From UCI's "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998), 17 grey levels.
    """
    if argument not in ("", "high"):
        raise UsageError(f'dataset \'digits:{argument}\': write dataset = "digits" or "digits:high"')
    table = _digits_table()
    pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    images = np.rint(pixels * 255 / 16).astype(np.uint8)[..., None]
    if argument == "high":
        return Dataset("digits:high", images, labels, attribute=(labels >= 5).astype(np.int64))
    return Dataset("digits", images, labels, trait=pixels.sum(axis=(1, 2)))


def _digits_table() -> np.ndarray:
    """sklearn.datasets.load_digits's table (1797, 65), 64 pixels and the label, read from the file that it ships.

    Importing sklearn takes seconds, which every worker would pay before its first step: the file is tried first.
    """
    found = find_spec("sklearn")
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        with gzip.open(file, "rt") as lines:
            return np.loadtxt(lines, delimiter=",")
    from sklearn.datasets import load_digits

    raw = load_digits()
    return np.column_stack([raw.data, raw.target])


_NPZ_KEYS = ("images", "labels", "attribute", "split")


def npz(argument: str) -> Dataset:
    """npz:PATH: `images` uint8 (N, H, W[, C]); optional `labels`, `attribute` (N,) integers and `split` (N,) words."""
    path = Path(argument).expanduser()
    if not argument or not path.is_file():
        raise UsageError(f"dataset 'npz:{argument}': no such file; write npz:PATH with the path of an .npz file")
    arrays = _read_npz(path)
    images = arrays["images"]
    if images.dtype != np.uint8:
        hint = " (NaN or infinite values among them)" if _has_nan(images) else ""
        raise UsageError(f"{path}: images: dtype is {images.dtype}{hint}; it must be uint8, 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise UsageError(
            f"{path}: images: shape is {arrays['images'].shape}; it must be (N, H, W) or (N, H, W, 1 or 3)"
        )
    labels, attribute = (integers(path, key, arrays.get(key), len(images)) for key in ("labels", "attribute"))
    return Dataset(f"npz:{path.name}", images, labels, attribute, split=_words(path, arrays.get("split"), len(images)))


def read_arrays(path: Path, keys: Sequence[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an .npz file that stand under `keys`, and the names of all others; pickled objects are refused,
    never loaded. Raises UsageError."""
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path}: is not an .npz file; write one with numpy.savez(path, {keys[0]}=...)")
    arrays, key = {}, keys[0]
    try:
        with np.load(path, allow_pickle=False) as packed:
            names = list(packed.files)
            for key in keys:
                if key in names:
                    arrays[key] = np.asanyarray(packed[key])
    except (MemoryError, ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        if "pickle" in str(error).lower():
            raise UsageError(
                f"{path}: {key}: holds pickled objects, which are refused; save plain numeric arrays"
            ) from None
        raise UsageError(f"{path}: {key}: cannot be read ({error}); write the file again with numpy.savez") from None
    return arrays, sorted(set(names) - set(keys))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    arrays, _ = read_arrays(path, _NPZ_KEYS)
    if "images" not in arrays:
        raise UsageError(f"{path}: key 'images' is missing; it must hold uint8 images (N, H, W) or (N, H, W, C)")
    return arrays


def _has_nan(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and not bool(np.isfinite(array).all())


def integers(path: Path, key: str, array: np.ndarray | None, count: int) -> np.ndarray | None:
    if array is None:
        return None
    if array.shape not in ((count,), (count, 1)):
        raise UsageError(f"{path}: {key}: shape is {array.shape}; it must be ({count},), one number an image")
    whole = array.dtype.kind in "biuf" and not _has_nan(array) and np.array_equal(array, np.trunc(array))
    if not whole or array.min() < 0:
        raise UsageError(f"{path}: {key}: must be whole numbers from 0 up (dtype is {array.dtype})")
    return array.reshape(count).astype(np.int64)


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
        raise UsageError(f"{path}: split: {what}; it must hold one word an image: {', '.join(PARTS)} or pool")
    return words
