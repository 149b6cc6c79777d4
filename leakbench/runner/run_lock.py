"""The lock of a run folder: one command at a time works in it.

The operating system gives the lock back when its process ends, however it ends, so none is ever left over. The file
says which process holds it, for the message to another command.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import disk_is_full

LOCK = ".lock"
_SHOWN = 80  # characters of a command


@contextmanager
def lock_run(out: Path, command: str) -> Iterator[None]:
    """Hold the lock of the run folder `out` inside. Raises UsageError that names the process which holds it.

    On file systems without locks (some of NFS and Lustre) a line on stderr says so, and nothing is locked.
    """
    path = out / LOCK
    lock = FileLock(path, timeout=0, fallback_to_soft=False)  # a soft lock outlives a killed process
    if not _acquire(lock, path):
        yield
        return
    try:
        path.write_text(_describe_holder(command))
        yield
    finally:
        with suppress(OSError):  # of a full disk, where the note matters least
            path.write_text("")
        lock.release()


def _acquire(lock: FileLock, path: Path) -> bool:
    """Take the lock. Returns False on a file system that has none."""
    try:
        lock.acquire()
    except Timeout:
        holder = _read_holder(path)
        raise UsageError(
            f"{path.parent}: {holder} works in this folder now; wait until it is done, or give another --out"
        ) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, PermissionError) or disk_is_full(error):
            raise
        print(f"leakbench: {path.parent}: no locks on this file system: start no second run here", file=sys.stderr)
        return False
    return True


def _describe_holder(command: str) -> str:
    start = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "start": start, "command": command}) + "\n"


def _read_holder(path: Path) -> str:
    """The process that holds the lock, in words."""
    try:
        found = json.loads(path.read_text())
        command = found["command"] if len(found["command"]) <= _SHOWN else f"{found['command'][:_SHOWN]}..."
        return f"process {int(found['pid'])} on {found['host']} (`{command}`, since {found['start']})"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it has only just begun, or is about to end
        return "another command"
