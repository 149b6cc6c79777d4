"""Data sets by their headers, as far as they lie in files of the user's: what a plan and early checks need to know."""

from __future__ import annotations

from collections.abc import Callable

from leakbench.data.array_headers import ArrayHeader, read_npy_header, read_npz_header
from leakbench.data.folder_headers import FolderHeaders, read_folder_headers

Headers = FolderHeaders | ArrayHeader  # both have name, count, shape, labels and groups

_READERS: dict[str, Callable[[str], Headers]] = {
    "folder": read_folder_headers,
    "npz": read_npz_header,
    "npy": read_npy_header,
}


def peek(name: str) -> Headers | None:
    """Facts about the data set of a name such as folder:PATH@64 or npz:PATH, without decoding an image; None of other
    kinds. Raises UsageError."""
    kind, _, argument = name.partition(":")
    return _READERS[kind](argument) if kind in _READERS else None
