"""Arrays of .npz and .npy files from a stranger: whatever is wrong with the bytes is one clear error."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from leakbench.runtime.errors import UsageError
from leakbench.runtime.zip_members import check_inflation

if TYPE_CHECKING:
    import numpy as np

# What numpy and zipfile raise of bytes that are no array: a header is read by Python's tokenizer and parser.
ARRAY_FAULTS = (
    *(ValueError, TypeError, LookupError, OverflowError, MemoryError, EOFError, OSError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def read_npz(path: Path, wanted: Collection[str] = ()) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the arrays of these names, as far as an .npz file has them (of all names if none is given), and list the
    names of the others.

    Raises UsageError that names the file and the array: for pickled objects, which are never loaded, for an array that
    unpacks to far more than any data do (a zip bomb), and for a file that is damaged or no .npz file.
    """
    import numpy as np

    arrays, key = {}, next(iter(wanted), "")
    try:
        with zipfile.ZipFile(path) as packed:
            for member in packed.infolist():
                check_inflation(member, str(path))
        with np.load(path, allow_pickle=False) as held:
            names = list(held.files)
            for key in names:
                if not wanted or key in wanted:
                    arrays[key] = np.asanyarray(held[key])
    except ARRAY_FAULTS as error:
        raise array_error(f"{path}: {key}" if key else str(path), error, "numpy.savez") from None
    return arrays, sorted(set(names) - set(arrays))


def array_error(where: str, error: BaseException, writer: str) -> UsageError:
    """The error for an array that cannot be read, which begins with `where`; `writer`: what writes one that can."""
    words = str(error) or type(error).__name__
    if "pickle" in words.lower() or "Python objects" in words:
        return UsageError(f"{where}: holds pickled objects, which are refused; save plain numeric arrays")
    return UsageError(f"{where}: cannot be read ({words[:200]}); write it again with {writer}")
