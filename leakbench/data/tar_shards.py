"""Shards of WebDataset: .tar files whose members of one name are one sample (a.jpg, a.txt, a.cls).

A sample's name ends at the first dot of its file's name. Its image is the member that ends as an image does; one sample
with several images is refused, for nobody says which of them was trained on. `.txt` is its caption, `.cls` its label, a
whole number from 0; other members are left alone. Shards are read where they lie and never unpacked.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from leakbench.data.image_cache import identify_file
from leakbench.data.image_sources import is_image
from leakbench.runtime.errors import UsageError
from leakbench.runtime.tar_members import Stretch, find_tar_members

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_TEXT_BYTES = 2**20  # of a caption


class TarShards:
    """The images of the shards at `paths`, under their names; below a `folder`, of the shard's name and theirs."""

    def __init__(self, paths: Sequence[Path], folder: Path | None = None) -> None:
        self.paths, self.folder = paths, folder

    @cached_property
    def _members(self) -> dict[str, tuple[Path, Stretch]]:
        found: dict[str, tuple[Path, Stretch]] = {}
        for path in self.paths:
            shard = "" if self.folder is None else f"{path.relative_to(self.folder).as_posix()}/"
            found |= {f"{shard}{name}": (path, where) for name, where in find_tar_members(path).items() if _seen(name)}
        return found

    @cached_property
    def names(self) -> list[str]:
        images = sorted(name for name in self._members if is_image(name))
        samples: dict[str, str] = {}
        for name in images:
            other = samples.setdefault(_sample(name), name)
            if other != name:
                raise UsageError(
                    f"{self._members[name][0]}: {other} and {name} are images of one sample: write shards with the one "
                    "that was trained on, or give them names that differ before the first dot"
                )
        return images

    @property
    def identity(self) -> list[Any]:
        return [["tar", *identify_file(path)] for path in self.paths]

    @property
    def labels(self) -> dict[str, int] | None:
        """Those of `.cls` members, if there are any; then every image has one. Raises UsageError."""
        found: dict[str, int] = {}
        for place, name in enumerate(self.names):
            words = self._beside(name, ".cls", 64)
            if words is None:
                if found:
                    raise UsageError(f"{self._members[name][0]}: {_sample(name)}.cls is missing, and others have one")
                continue
            if len(found) < place:
                raise UsageError(f"{self._members[name][0]}: {_sample(name)}.cls: the images before it have none")
            text = words.decode("latin-1").strip()
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise UsageError(
                    f"{self._members[name][0]}: {_sample(name)}.cls: {text[:40]!a}: it should be a whole number from 0"
                )
            found[name] = int(text)
        return found or None

    def read(self, name: str) -> bytes:
        path, (start, size) = self._members[name]
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def open(self, name: str) -> IO[bytes]:
        path, where = self._members[name]
        return io.BufferedReader(_Window(path, where))

    def caption(self, name: str) -> bytes | None:
        return self._beside(name, ".txt", _TEXT_BYTES)

    def _beside(self, name: str, suffix: str, most: int) -> bytes | None:
        """The content of another member of an image's sample. Raises UsageError where it is too large."""
        beside = _sample(name) + suffix
        if beside not in self._members:
            return None
        path, where = self._members[beside]
        if where.size > most:
            raise UsageError(f"{path}: {beside}: {where.size:,} bytes, more than the {most:,} that are read")
        return self.read(beside)


class _Window(io.RawIOBase):
    """A stretch of a file as a file of its own."""

    def __init__(self, path: Path, where: Stretch) -> None:
        self._file, self._where, self._at = path.open("rb", buffering=0), where, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._where.size}[whence]
        if at < 0:
            raise ValueError(f"negative position {at}")
        self._at = at
        return at

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")[: max(0, self._where.size - self._at)]
        self._file.seek(self._where.start + self._at)
        count = self._file.readinto(room) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _seen(name: str) -> bool:
    return not PurePosixPath(name).name.startswith(".") and not name.startswith("__MACOSX/")


def _sample(name: str) -> str:
    """The name of the sample that a member belongs to: its own up to the first dot."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]
