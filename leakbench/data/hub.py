"""Data sets of the Hugging Face hub, by its `datasets` library (optional: leakbench[hf]).

Choices of ours: all splits are pooled, in the library's order; the first column of images is taken; a column `label` or
`labels` of whole numbers is the label, a column `attribute` the sensitive attribute, and a column `group` the person or
scene that an image is of. Code that a data set brings along is never run: version 4 of the library no longer can, and
older ones, some of which do unasked, are refused. The library keeps what it downloads in a cache of its own and finds
it there without a network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import Decoding, decode_images, resize_and_crop, unchanged
from leakbench.data.group_names import NumberedGroups
from leakbench.data.image_cache import pack_images
from leakbench.data.npz import integers, whole_or_named
from leakbench.data.refused_images import Remedies
from leakbench.runtime.download.resource import is_offline
from leakbench.runtime.errors import UsageError

_OLDEST = 4  # major version of datasets: the first that runs no code of data sets


def hub(argument: str, skip_broken: bool = False) -> Dataset:
    """hf:ID or hf:ID@SIZE: images of the Hugging Face hub, of one size or made so; needs the extra `hf`."""
    found = re.fullmatch(r"(.+?)(?:@(\d{1,4}))?", argument)
    if not found:
        raise UsageError("dataset 'hf:': write hf:ID or hf:ID@SIZE, with the data set's id on the hub")
    where, size = f"dataset 'hf:{argument}'", int(found[2] or 0)
    parts = _loaded(where, found[1])
    table = Table(where, parts)
    remedies = Remedies(size=f"hf:{found[1]}@SIZE resizes and crops them all to SIZE x SIZE")
    options = Decoding(resize_and_crop(size) if size else unchanged, remedies, skip_broken)
    pack = pack_images(
        "hub",
        {"id": found[1], "size": size, "skip": skip_broken, "parts": table.identity},
        lambda notes: decode_images(where, table.names, table.read, options, notes),
    )
    left = ~np.isin(table.names, pack.skipped)
    columns = {"labels": ("label", "labels"), "attribute": ("attribute",)}
    known = {field: table.numbers(*keys) for field, keys in columns.items()}
    group, names = table.groups or (None, None)
    kept = {field: None if values is None else values[left] for field, values in (known | {"group": group}).items()}
    return Dataset(f"hf:{argument}", **(pack.fields | kept), group_names=names)


def _loaded(where: str, name: str) -> dict[str, Any]:
    """Splits by name. Raises UsageError where the library, the data set or the network is missing."""
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{where}: needs the datasets library: pip install 'leakbench[hf]'") from None
    if int(datasets.__version__.partition(".")[0]) < _OLDEST:
        raise UsageError(
            f"{where}: datasets {datasets.__version__} can run code of a data set's own; {_OLDEST} and later do not: "
            "pip install 'leakbench[hf]'"
        )
    try:
        return dict(datasets.load_dataset(name))
    except Exception as error:  # of the library, of its HTTP client, of the data set
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "load it once where there is a network, and copy the library's cache ($HF_HOME)"
        raise UsageError(f"{where}: cannot be loaded ({words})" + f"; {hint}" * is_offline()) from None


class Table:
    """The rows of all splits under names such as train/17, in order."""

    def __init__(self, where: str, parts: dict[str, Any]) -> None:
        import datasets

        self.where = where
        features = next(iter(parts.values())).features
        columns = [key for key, feature in features.items() if isinstance(feature, datasets.Image)]
        if not columns:
            raise UsageError(f"{where}: has no column of images (columns: {', '.join(features)})")
        self.column = columns[0]
        self.parts = {key: part.cast_column(columns[0], datasets.Image(decode=False)) for key, part in parts.items()}
        self.names = [f"{key}/{row}" for key, part in parts.items() for row in range(len(part))]

    @property
    def identity(self) -> list[list[Any]]:
        """Split, its rows, and the library's fingerprint of it."""
        return [[key, len(part), part._fingerprint] for key, part in self.parts.items()]

    def read(self, name: str) -> bytes:
        """The bytes of an image: the library has them, or the path of their file."""
        part, _, row = name.rpartition("/")
        image = self.parts[part][int(row)][self.column]
        return bytes(image["bytes"]) if image["bytes"] is not None else Path(image["path"]).read_bytes()

    def numbers(self, *keys: str) -> np.ndarray | None:
        """The first of these columns that every split has, as int64 (N,), or None."""
        for key in keys:
            if (values := self._column(key)) is not None:
                return integers(Path(self.where), key, values, len(self.names))
        return None

    @property
    def groups(self) -> NumberedGroups | None:
        """Whose each image is, by the column `group` of numbers or words, or None."""
        return whole_or_named(Path(self.where), "group", self._column("group"), len(self.names))

    def _column(self, key: str) -> np.ndarray | None:
        """A column that every split has, or None."""
        if not all(key in part.features for part in self.parts.values()):
            return None
        return np.concatenate([np.asarray(part[key][:]) for part in self.parts.values()])
