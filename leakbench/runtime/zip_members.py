"""Members of a zip file from a stranger, read one after the other within limits that hold for their real sizes."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from leakbench.runtime.errors import UsageError

_LONGEST_NAME = 250
_LARGE, _DENSEST = 2**28, 200  # bytes of a member from which on no data shrink so much: deflate stops at 1,032
ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError, ValueError, EOFError, OSError),
)


@dataclass(frozen=True)
class Limits:
    """The most that a file may hold: members, bytes of one of them, and bytes of all."""

    members: int
    member_bytes: int
    total_bytes: int


def read_zip_members(file: Path | IO[bytes], what: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every member, in the order of the file.

    Raises UsageError, in one line that begins with `what`, for a file that is no zip file, and for a member with a bad
    name (absolute, with "..", a backslash or characters that do not print), a name that stands there twice (upper and
    lower case being one), a link or a folder, encryption, a wrong checksum, and for more than the limits allow: by the
    sizes that the file states, before anything is unpacked, and by those that it unpacks to.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
            _check_members(members, what, limits)
            for member in members:
                yield member.filename, _read(packed, member, what)
    except ZIP_FAULTS as error:
        raise UsageError(f"{what}: cannot be read as a zip file ({_in_words(error)})") from None


def check_inflation(member: zipfile.ZipInfo, what: str) -> None:
    """Raise UsageError for a member of a zip file that states a size which real data do not have at its packed size: a
    zip bomb. zipfile unpacks no more than what is stated. `what` begins the message."""
    if member.file_size > _LARGE and member.file_size > _DENSEST * member.compress_size:
        raise UsageError(
            f"{what}: {member.filename[:80]!a} is {_mebibytes(member.compress_size)} that unpack to "
            f"{_mebibytes(member.file_size)}, as in a zip bomb: refused; store it unpacked if it is meant so"
        )


def _check_members(members: list[zipfile.ZipInfo], what: str, limits: Limits) -> None:
    if len(members) > limits.members:
        raise UsageError(f"{what}: holds {len(members)} files, more than the {limits.members} that are read")
    seen: set[str] = set()
    for member in members:
        name = member.filename
        check_name(name, what)
        if name.casefold() in seen:
            raise UsageError(f"{what}: holds {name!r} twice")
        seen.add(name.casefold())
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UsageError(f"{what}: {name!r} is a link or a device, and only plain files are read")
        if member.flag_bits & 1:
            raise UsageError(f"{what}: {name!r} is encrypted")
        if member.file_size > limits.member_bytes:
            raise UsageError(f"{what}: {name!r} is larger than {_mebibytes(limits.member_bytes)}")
    if sum(member.file_size for member in members) > limits.total_bytes:
        raise UsageError(f"{what}: unpacks to more than {_mebibytes(limits.total_bytes)}")


def check_name(name: str, what: str) -> None:
    """Raise UsageError for the name of a file that does not stay below the folder that it is unpacked into, or that
    does not print. `what` begins the message."""
    parts = PurePosixPath(name).parts
    strange = not name.isprintable() or len(name) > _LONGEST_NAME or "\\" in name or ":" in name
    if strange or name != "/".join(parts) or {"..", ".", "/"} & {*parts} or not parts:
        raise UsageError(f"{what}: holds a file with a bad name, {name[:80]!a}")


def _read(packed: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> bytes:
    """The content of a member, no more than its stated size and one byte of it."""
    with packed.open(member) as stream:
        content = stream.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise UsageError(f"{what}: {member.filename!r} does not have the size that the file states")
    return content


def _in_words(error: BaseException) -> str:
    words = " ".join(str(error).split())[:120] or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in words)


def _mebibytes(size: int) -> str:
    return f"{size >> 20} MiB"
