"""The time at which an artefact was last used: that of an empty file used/KIND-KEY, which each use sets.

The artefact itself stays as it was written. Its access time would not do: many file systems keep none, and whoever
looks through a cache changes it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def note_use(folder: Path) -> None:
    """Note that an artefact is used now. In a cache that cannot be written to nothing is noted."""
    mark = _mark_of(folder)
    with suppress(OSError):
        mark.parent.mkdir(exist_ok=True)
        mark.touch()


def last_use(folder: Path) -> float:
    """The time, in seconds since 1970, at which an artefact was used or made; 0 where it is gone."""
    found = [0.0]
    for path in (folder, _mark_of(folder)):
        with suppress(OSError):
            found.append(path.stat().st_mtime)
    return max(found)


def forget_use(folder: Path) -> None:
    """Delete the note of an artefact that is gone."""
    with suppress(OSError):
        _mark_of(folder).unlink()


def _mark_of(folder: Path) -> Path:
    return folder.parent.parent / "used" / f"{folder.parent.name}-{folder.name}"
