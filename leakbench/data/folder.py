"""Image files of a user's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import peek_shape, resize_and_crop, unchanged
from leakbench.data.image_cache import pack_images
from leakbench.data.image_files import ImageFiles
from leakbench.data.tables import find_table, read_table
from leakbench.runtime.errors import UsageError


def folder(argument: str, skip_broken: bool = False) -> Dataset:
    """folder:PATH or folder:PATH@SIZE: image files under a folder or in a .zip, of one size or made so.

    A labels.csv in the folder or beside it says what is known of them (columns file, label, attribute, group, split).
    """
    path, size = _parts(argument)
    files = ImageFiles(path)
    names, known = files.names, {}
    table = find_table(path)
    if table is not None:
        known = read_table(table, names)
    change = unchanged if size is None else resize_and_crop(size)
    hint = f"folder:{path.name}@SIZE resizes and crops them all to SIZE x SIZE"
    pack = pack_images(
        "folder",
        {"files": files.identity, "size": size, "skip": skip_broken},
        lambda skipped: files.decode(skip_broken, skipped, change, hint),
    )
    left = ~np.isin(names, pack.skipped)
    columns = ("label", "attribute", "split", "group")
    labels, attribute, split, group = (known[c][left] if c in known else None for c in columns)
    return Dataset(
        _name(path, size), **(pack.fields | {"labels": labels}), attribute=attribute, split=split, group=group
    )


@dataclass(frozen=True)
class Glimpse:
    """Facts about the images of a folder that are known before any is decoded.

    count: image files, some of which may not decode. shape: channels, height and width of the first one, None where
    its header does not say them. labels: int64 (N,) of labels.csv, or None.
    """

    name: str
    count: int
    shape: tuple[int, int, int] | None
    labels: np.ndarray | None


def peek(argument: str) -> Glimpse:
    """Look at the names, the table and the first header of folder:PATH or folder:PATH@SIZE. Raises UsageError."""
    path, size = _parts(argument)
    files = ImageFiles(path)
    table = find_table(path)
    known = {} if table is None else read_table(table, files.names)
    shape = peek_shape(files.read(files.names[0]))
    if shape is not None and size is not None:
        shape = (shape[0], size, size)
    return Glimpse(_name(path, size), len(files.names), shape, known.get("label"))


def _name(path: Path, size: int | None) -> str:
    return f"folder:{path.name}" + (f"@{size}" if size else "")


def _parts(argument: str) -> tuple[Path, int | None]:
    """PATH and SIZE of PATH[@SIZE]; a path that ends like a size and exists is a path."""
    path, size = Path(argument).expanduser(), None
    found = re.fullmatch(r"(.+)@(\d+)", argument)
    if found and not path.exists():
        path, size = Path(found[1]).expanduser(), int(found[2])
    if not argument or not path.exists():
        raise UsageError(f"dataset 'folder:{argument}': no such folder; write folder:PATH or folder:PATH@SIZE")
    if size is not None and not 2 <= size <= 4096:
        raise UsageError(f"dataset 'folder:{argument}': SIZE = {size}: it should be from 2 to 4096")
    return path, size
