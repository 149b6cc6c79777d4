"""Memory of images that are mapped from a file: pages that were read count as this process's until they are let go.

Reading once through a map of 8 GB makes the process look 8 GB large, and a machine with a limit for it (a container, a
batch system) may kill it, although the system could drop these pages at any time. What was computed from them leaves
holes in glibc's heap, which it keeps: images of 512x512 by the thousand left a gigabyte of these. They go as well.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

_EVERY = 2**28  # bytes that are read between two releases


class PageKeeper:
    """Counts the bytes that are read of an array, and lets its pages go after every 256 MiB."""

    def __init__(self, images: object) -> None:
        self._map, self._read = _find_map(images), 0

    def note(self, size: int) -> None:
        """Note that so many bytes were read and copied."""
        self._read += size
        if self._map is not None and self._read >= _EVERY:
            self._map.madvise(mmap.MADV_DONTNEED)  # the file still has them: the next look reads them again
            _return_free_memory()
            self._read = 0


def _find_map(images: object) -> mmap.mmap | None:
    """The read-only map of a file under an array, or None; changes of a writable one could be lost."""
    while isinstance(images, np.ndarray):
        if images.flags.writeable:
            return None
        images = images.base
    return images if isinstance(images, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None


def _return_free_memory() -> None:
    """Give the heap's free pages back to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
