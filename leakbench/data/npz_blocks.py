"""The arrays of an .npz file one block at a time: large ones are never read whole.

Arrays of Python objects are pickles: they are refused, never loaded.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from leakbench.runtime.errors import UsageError
from leakbench.runtime.npz_file import ARRAY_FAULTS, array_error
from leakbench.runtime.zip_members import check_inflation

_BLOCK = 2**22  # bytes that are read at one time


@dataclass(frozen=True)
class NpzArray:
    """One array of an .npz file, of which only the header has been read."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def blocks(self) -> Iterator[np.ndarray]:
        """Its rows in order, some MiB at a time; the .zip's checksum is checked on the way. Raises UsageError."""
        row = max(1, prod(self.shape[1:]) * self.dtype.itemsize)
        step = max(1, _BLOCK // row)
        try:
            with zipfile.ZipFile(self.path) as packed, packed.open(f"{self.key}.npy") as file:
                _header(file)
                for start in range(0, self.shape[0], step):
                    count = min(step, self.shape[0] - start)
                    yield np.frombuffer(file.read(count * row), self.dtype).reshape(count, *self.shape[1:])
                file.read(1)  # the end, where the checksum is compared
        except ARRAY_FAULTS as error:
            raise array_error(f"{self.path}: {self.key}", error, "numpy.savez") from None


def open_array(path: Path, key: str) -> NpzArray:
    """The array under a key. Raises UsageError if it is missing, pickled, damaged, or stored by columns."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open(f"{key}.npy") as file:
            check_inflation(packed.getinfo(f"{key}.npy"), str(path))
            shape, by_columns, dtype = _header(file)
    except KeyError:
        raise UsageError(f"{path}: key {key!r} is missing") from None
    except ARRAY_FAULTS as error:
        raise array_error(f"{path}: {key}", error, "numpy.savez") from None
    if dtype.hasobject:
        raise UsageError(f"{path}: {key}: holds pickled objects, which are refused; save plain numeric arrays")
    if by_columns and len(shape) > 1:
        raise UsageError(f"{path}: {key}: is stored by columns; save it after numpy.ascontiguousarray")
    return NpzArray(path, key, shape, dtype)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read an .npy header: shape, True where the array is stored by columns, and dtype."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"a header of version {version}")
    shape, by_columns, dtype = read(file)
    return shape, by_columns, dtype
