"""The image files of a folder, a .zip or shards: their names in order, and their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from leakbench.data.decoding import Decoding, Notes, Row, decode_images
from leakbench.data.image_sources import SUFFIXES, FolderSource, ImageSource, ZipSource
from leakbench.data.parquet_images import ParquetImages
from leakbench.data.tar_shards import TarShards
from leakbench.runtime.errors import UsageError

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_SHARDS: dict[str, type[TarShards | ParquetImages]] = {".tar": TarShards, ".parquet": ParquetImages}
_PACKED = (".zip", *_SHARDS, *_COMPRESSED)


def is_packed(path: Path) -> bool:
    """True where a path is called as a file that holds many images."""
    return path.name.lower().endswith(_PACKED)


@dataclass(frozen=True)
class ImageFiles:
    """The image files under a folder, or in a .zip or shards: names relative to it, with '/', in order.

    Shards of a folder (.tar, else .parquet) are taken where no image lies in it as a file.
    """

    path: Path

    @cached_property
    def names(self) -> list[str]:
        """Sorted names. Raises UsageError where there is none."""
        names = sorted(self._source.names)
        if not names:
            raise UsageError(
                f"{self.path}: holds no image files; it should hold {', '.join(SUFFIXES)}, .dcm, "
                "or .tar or .parquet shards"
            )
        twice = next((a for a, b in pairwise(names) if a == b), None)
        if twice is not None:
            raise UsageError(f"{self.path}: {twice}: a file of this name stands there twice; give each image its own")
        return names

    @cached_property
    def _source(self) -> ImageSource:
        if not self.path.is_dir():
            return self._of_file()
        files = FolderSource(self.path)
        if files.names:
            return files
        for suffix, kind in _SHARDS.items():
            paths = (path for path in self.path.rglob(f"*{suffix}") if path.is_file())
            if shards := sorted(path for path in paths if not path.name.startswith(".")):
                return kind(shards, self.path)
        return files

    def _of_file(self) -> ImageSource:
        name = self.path.name.lower()
        if name.endswith(_COMPRESSED):
            raise UsageError(f"{self.path}: is compressed; shards are read where they lie: make it a plain .tar")
        kind = _SHARDS.get(self.path.suffix.lower())
        return ZipSource(self.path) if kind is None else kind([self.path])

    @property
    def in_shards(self) -> bool:
        """True where images lie in several shards, whose names come before theirs."""
        return isinstance(self._source, TarShards | ParquetImages) and self.path.is_dir()

    @property
    def identity(self) -> list[Any]:
        """Names, sizes and times of the files: other ones when a file is added, removed or changed."""
        return self._source.identity

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (N,): the class label of every image, where the images' own source holds them. Raises UsageError."""
        found = self._source.labels
        return None if found is None else np.array([found[name] for name in self.names], dtype=np.int64)

    def caption(self, name: str) -> bytes | None:
        """The text beside an image, in UTF-8, or None. Raises UsageError and OSError."""
        return self._source.caption(name)

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return self._source.read(name)

    def open(self, name: str) -> IO[bytes]:
        """A file, of which only what is asked for is read."""
        return self._source.open(name)

    def decode(self, options: Decoding, notes: Notes) -> Iterator[Row]:
        """All of them, decoded; see leakbench.data.decoding.decode_images."""
        return decode_images(str(self.path), self.names, self.read, options, notes)
