"""The time at which an artefact was last used: the time of change of its manifest, which each use sets.

The access time would not do: many file systems keep none, and whoever looks through a cache changes it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from leakbench.runtime.cache.manifest import MANIFEST


def note_use(folder: Path) -> None:
    """Note that an artefact is used now. In a cache that cannot be written to nothing is noted."""
    with suppress(OSError):
        os.utime(folder / MANIFEST)


def last_use(folder: Path) -> float:
    """The time, in seconds since 1970, at which an artefact was used or made; 0 where it has no manifest."""
    with suppress(OSError):
        return (folder / MANIFEST).stat().st_mtime
    return 0.0
