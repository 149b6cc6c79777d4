"""Runs that are at work with a cache: a file each, which its process locks, so that one that dies counts no longer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from leakbench.runtime.cache.locks import held_if_free

_PREFIX = "run-"


@contextmanager
def mark_in_use(root: Path) -> Iterator[None]:
    """Say inside that a run works with the cache in `root`: what it has used since stays (`leakbench clean`)."""
    path = root / "locks" / f"{_PREFIX}{time.time_ns()}-{uuid.uuid4().hex[:8]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with held_if_free(path):
            yield
    finally:
        with suppress(OSError):
            path.unlink()


def find_oldest_run(root: Path) -> float | None:
    """The time, in seconds since 1970, since when a run has been at work with the cache; None if there is none."""
    began = []
    for path in (root / "locks").glob(f"{_PREFIX}*-*"):
        with suppress(ValueError), held_if_free(path) as free:
            if not free:
                began.append(int(path.name.removeprefix(_PREFIX).partition("-")[0]) / 1e9)
    return min(began, default=None)


def remove_stale_marks(root: Path) -> None:
    """Delete the files of runs that were killed."""
    for path in (root / "locks").glob(f"{_PREFIX}*-*"):
        with suppress(OSError), held_if_free(path) as free:
            if free:
                path.unlink()
