"""Scratch folders of a process: deleted when it ends, and by the next process where it was killed."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "leakbench-scratch-"
_LOCK = ".lock"  # held by the process whose folder it is: the operating system gives it back, however that ends
_YOUNG = 60.0  # seconds in which a process has locked the folder that it made

_held: dict[Path, FileLock] = {}


def make_scratch() -> Path:
    """An empty folder of this process below the system's folder of temporary files, but for a lock file. It goes when
    the process ends; what killed processes of this user left goes now."""
    remove_left_over()
    if not _held:
        atexit.register(remove_scratch)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = FileLock(folder / _LOCK, timeout=0)
    lock.acquire()
    _held[folder] = lock
    return folder


def remove_scratch() -> None:
    """Delete the scratch folders of this process now: for one that ends without Python's leave."""
    while _held:
        folder, lock = _held.popitem()
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_over() -> None:
    """Delete the scratch folders of processes that are no more. Those of other users, and links, are left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout, NotImplementedError):
            about = folder.lstat()
            ours = folder not in _held and folder.is_dir() and not folder.is_symlink() and about.st_uid == os.getuid()
            if ours and time.time() - about.st_mtime > _YOUNG and (folder / _LOCK).is_file():
                with FileLock(folder / _LOCK, timeout=0, fallback_to_soft=False):
                    shutil.rmtree(folder, ignore_errors=True)
