"""A packed run from a stranger, as a folder whose files have known names and sizes: of an archive, or of a folder."""

from __future__ import annotations

import json
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from leakbench.interface.submission.manifest import MANIFEST
from leakbench.interface.submission.pack import pack_files
from leakbench.results.run_digest import PLAN
from leakbench.runtime.errors import UsageError
from leakbench.runtime.zip_members import Limits, check_name, read_zip_members

LIMITS = Limits(members=100_000, member_bytes=2**27, total_bytes=2**31)
_JSON_BYTES = 2**24
_KNOWN = re.compile(r"(plan|manifest)\.json|records/[^/]+\.json|arrays/[^/]+\.npz")


@contextmanager
def unpacked(path: Path, limits: Limits = LIMITS) -> Iterator[Path]:
    """The folder of a packed run: the given one, or a temporary one that the archive is unpacked into.

    Raises UsageError, in one line, for what is not a packed run: see `read_zip_members`, and for files with other names
    than a packed run has, JSON that is none or holds numbers that are not finite, links, and an archive with other
    bytes than `leakbench submit` writes for its files.
    """
    if path.is_dir():
        _check_folder(path, limits)
        yield path
        return
    if not path.is_file():
        raise UsageError(f"{path}: no such file or folder")
    files = {}
    for name, data in read_zip_members(path, str(path), limits):
        _check_file(name, data, path)
        files[name] = data
    _check_complete(files, path)
    if pack_files(files) != path.read_bytes():
        raise UsageError(f"{path}: not packed as `leakbench submit` packs; unpack it, and check the folder")
    with tempfile.TemporaryDirectory(prefix="leakbench-submission-") as folder:
        for name, data in files.items():
            target = Path(folder) / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
        yield Path(folder)


def _check_folder(folder: Path, limits: Limits) -> None:
    """Raise UsageError unless a folder holds plain files of known names, none too large."""
    _check_complete([path.name for path in folder.iterdir()], folder)
    names, total = [], 0
    for found in sorted(folder.rglob("*")):
        name, mode = found.relative_to(folder).as_posix(), found.lstat().st_mode
        if stat.S_ISDIR(mode) and name in ("records", "arrays"):
            continue
        check_name(name, str(folder))
        if not stat.S_ISREG(mode):
            raise UsageError(f"{folder}: {name!r} is a link, a folder or a device; a packed run has none")
        size = found.lstat().st_size
        if size > limits.member_bytes:
            raise UsageError(f"{folder}: {name!r} is larger than {limits.member_bytes >> 20} MiB")
        names.append(name)
        total += size
        if len(names) > limits.members or total > limits.total_bytes:
            raise UsageError(f"{folder}: holds too many files, or too large ones, for a packed run")
        _check_file(name, found.read_bytes(), folder)


def _check_complete(names: Any, path: Path) -> None:
    for needed in (MANIFEST, PLAN):
        if needed not in names:
            raise UsageError(f"{path}: not a packed run (it has no {needed}); `leakbench submit RUN` writes one")


def _check_file(name: str, data: bytes, path: Path) -> None:
    if not _KNOWN.fullmatch(name):
        raise UsageError(f"{path}: holds {name!r}, which is no file of a packed run")
    if name.endswith(".json"):
        check_json(data, f"{path}: {name}")


def check_json(data: bytes, where: str) -> None:
    """Raise UsageError that begins with `where` unless the bytes are JSON of a reasonable size, whose numbers are
    finite."""
    if len(data) > _JSON_BYTES:
        raise UsageError(f"{where}: larger than {_JSON_BYTES >> 20} MiB")
    try:
        json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({str(error)[:120]})") from None


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number
