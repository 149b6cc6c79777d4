"""The image files of a folder or a .zip: their names in order, and their bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Any

from leakbench.data.decoding import Decoding, Notes, Row, decode_images
from leakbench.data.image_cache import identify_file
from leakbench.runtime.errors import UsageError
from leakbench.runtime.zip_members import ZIP_FAULTS

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageFiles:
    """The image files under a folder, or in a .zip: names relative to it, with '/', in order."""

    path: Path

    @cached_property
    def names(self) -> list[str]:
        """Sorted names. Raises UsageError where there is none."""
        names = sorted(name for name in self._all if PurePosixPath(name).suffix.lower() in SUFFIXES)
        if not names:
            raise UsageError(f"{self.path}: holds no image files; it should hold {', '.join(SUFFIXES)}")
        twice = next((a for a, b in pairwise(names) if a == b), None)
        if twice is not None:
            raise UsageError(f"{self.path}: {twice}: a file of this name stands there twice; give each image its own")
        return names

    @property
    def _all(self) -> list[str]:
        if self._zip is not None:
            return [name for name in self._zip.namelist() if not name.startswith("__MACOSX/")]
        return [p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file() and _seen(p)]

    @cached_property
    def _zip(self) -> zipfile.ZipFile | None:
        if self.path.is_dir():
            return None
        try:
            return zipfile.ZipFile(self.path)
        except ZIP_FAULTS as error:
            raise UsageError(f"{self.path}: is no folder and no .zip of images ({error})") from None

    @property
    def identity(self) -> list[Any]:
        """Names, sizes and times of the files: other ones when a file is added, removed or changed."""
        if self._zip is not None:
            return identify_file(self.path)
        return [[name, *identify_file(self.path / name)[1:]] for name in self.names]

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)

    def open(self, name: str) -> IO[bytes]:
        """A file, of which only what is asked for is read."""
        return (self.path / name).open("rb") if self._zip is None else self._zip.open(name)

    def decode(self, options: Decoding, notes: Notes) -> Iterator[Row]:
        """All of them, decoded; see leakbench.data.decoding.decode_images."""
        return decode_images(str(self.path), self.names, self.read, options, notes)


def _seen(path: Path) -> bool:
    return not path.name.startswith(".")
