"""Atomic writes, and checks of folders and disks."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from leakbench.runtime.errors import UsageError


def write_atomically(path: Path, data: bytes, durable: bool = True) -> None:
    """Write under a temporary name in the same folder, then rename: a reader sees the old file or the new one.

    durable: also after a crash of the machine, which takes a disk's time. Whatever becomes of the process alone, both
    are the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # a full disk does not say which file it was
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporary_files(*folders: Path) -> None:
    """Delete what `write_atomically` had begun in these folders when its process was killed. Nobody may write there."""
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def check_writable(folder: Path, what: str) -> None:
    """Raise UsageError if a folder cannot be created or written to; `what` names it in the message."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{what} {folder}: cannot be written to ({error.strerror}); choose another folder") from None


def disk_is_full(error: BaseException) -> bool:
    """True if an error says that nothing more can be written: no space, quota or file size limit reached."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    # safetensors and zipfile raise errors of their own, with the number in the text
    return getattr(error, "errno", None) in full or any(f"os error {number}" in str(error) for number in full)
