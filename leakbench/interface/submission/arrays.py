"""Arrays of a record from a stranger: plain numbers, as many as are there, and nothing unpickled."""

from __future__ import annotations

import io
from math import prod

import numpy as np

from leakbench.runtime.errors import UsageError
from leakbench.runtime.zip_members import Limits, read_zip_members

_LIMITS = Limits(members=200, member_bytes=2**26, total_bytes=2**27)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_FAULTS = (
    *(ValueError, KeyError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError, EOFError),
    Warning,  # of a header that Python 2 wrote
)


def read_arrays(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The arrays of the bytes of an .npz file. Raises UsageError that begins with `where` for anything but arrays of
    booleans, whole numbers and floats of up to 64 bits, whose bytes are all there."""
    found = {}
    for name, content in read_zip_members(io.BytesIO(data), where, _LIMITS):
        if not name.endswith(".npy"):
            raise UsageError(f"{where}: holds {name!r}, which is no array")
        found[name.removesuffix(".npy")] = _read_array(content, f"{where}: {name.removesuffix('.npy')}")
    return found


def _read_array(content: bytes, where: str) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise UsageError(f"{where}: dtype is {dtype}; it must be plain numbers")
        numbers = content[stream.tell() :]
        if prod(shape) * dtype.itemsize != len(numbers):
            raise UsageError(f"{where}: does not hold the numbers that its shape {shape} promises")
        return np.frombuffer(numbers, dtype).reshape(shape, order="F" if by_columns else "C")
    except _FAULTS:
        raise UsageError(f"{where}: not an array as numpy saves it") from None
