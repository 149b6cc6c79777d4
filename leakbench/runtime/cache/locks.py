"""Locks between processes, one for each artefact, that a process which dies gives back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_QUIET = 5.0  # seconds of waiting after which a line says why


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` against other processes; wait for the one that holds it.

    `what` says what a holder does, for the line about waiting: "makes fits/KEY". The same process may hold a lock more
    than once. On file systems without locks (some of NFS and Lustre) nothing is locked: artefacts stay whole all the
    same, as they are renamed into place, but two processes may make the same one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=True, fallback_to_soft=False)  # a soft lock outlives a killed process
    locked = _acquire(lock, what)
    try:
        yield
    finally:
        if locked:
            lock.release()


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` inside if no process holds it, this one included: True then, and where the file system
    has no locks. False, at once, if one does."""
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    except (OSError, NotImplementedError) as error:
        yield not isinstance(error, PermissionError)
        return
    try:
        yield True
    finally:
        lock.release()


def _acquire(lock: FileLock, what: str) -> bool:
    """Wait for the lock. Returns False on a file system that has none."""
    try:
        with suppress(Timeout):
            lock.acquire(timeout=_QUIET)
            return True
        print(f"leakbench: waiting for another process that {what}", file=sys.stderr)
        lock.acquire()
        return True
    except PermissionError:
        raise
    except (OSError, NotImplementedError):
        return False
