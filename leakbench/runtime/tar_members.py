"""Where the members of an uncompressed tar file from a stranger lie, read within limits.

Nothing is unpacked: a member is a stretch of the file, so that its stated size is its real one. Python's tarfile reads
the headers, no more than a mebibyte of one, and only forwards.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple, cast

from leakbench.runtime.errors import UsageError
from leakbench.runtime.zip_members import check_name

_MEMBERS = 2**22  # of one tar file
_MEMBER_BYTES = 2**28
_HEADER_BYTES = 2**20  # long names and pax headers are shorter
_BLOCK = 512
TAR_FAULTS = (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RuntimeError)


class Stretch(NamedTuple):
    """Bytes of a file from `start` on."""

    start: int
    size: int


def find_tar_members(path: Path) -> dict[str, Stretch]:
    """The stretch of every plain file in a tar file, by its name, in the order of the file.

    Raises UsageError, in one line that begins with the path, for a file that is no tar file or compressed, one that is
    damaged or cut off, and for a member with a bad name (as in leakbench.runtime.zip_members), a name that stands there
    twice, a link, a device, a sparse file, and more than 4,194,304 members or 256 MiB of one.
    """
    about = path.stat()
    return _find(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1024)
def _find(path: Path, size: int, changed: int) -> dict[str, Stretch]:
    found: dict[str, Stretch] = {}
    try:
        with path.open("rb") as file:
            for member in _headers(file, str(path), size):
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                check_name(name, str(path))
                _check_member(member, name, str(path), size)
                if name in found:
                    raise UsageError(f"{path}: holds {name!r} twice")
                found[name] = Stretch(member.offset_data, member.size)
                if len(found) > _MEMBERS:
                    raise UsageError(f"{path}: holds more than the {_MEMBERS:,} files that are read of one tar file")
    except TAR_FAULTS as error:
        words = " ".join(str(error).split())[:120] or type(error).__name__
        shown = "".join(c if c.isprintable() else "?" for c in words)
        raise UsageError(f"{path}: cannot be read as an uncompressed .tar file ({shown})") from None
    return found


def _headers(file: IO[bytes], what: str, size: int) -> Iterator[tarfile.TarInfo]:
    """The headers one after the other, which only ever lie further on. Raises UsageError where they end before the
    end mark."""
    archive = tarfile.TarFile(fileobj=cast("IO[bytes]", _Careful(file)), mode="r", errorlevel=2)
    last = -1
    while (member := archive.next()) is not None:
        if member.offset <= last or not 0 <= member.size <= size:
            raise UsageError(f"{what}: damaged at byte {max(last, 0)}: a header states a size that cannot be")
        last = member.offset
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all that it read
        yield member
    file.seek(archive.offset)
    if file.read(_BLOCK).strip(b"\0"):
        raise UsageError(f"{what}: damaged at byte {archive.offset}: no header of a member there")


class _Careful:
    """A file of which no more is read at one time than a header may take."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _check_member(member: tarfile.TarInfo, name: str, what: str, size: int) -> None:
    if not member.isreg() or member.issparse():
        raise UsageError(f"{what}: {name!r} is a link, a device or sparse, and only plain files are read")
    if member.size > _MEMBER_BYTES:
        raise UsageError(f"{what}: {name!r} is larger than {_MEMBER_BYTES >> 20} MiB")
    if member.offset_data + member.size > size:
        raise UsageError(f"{what}: ends within {name!r}: it was cut off")
