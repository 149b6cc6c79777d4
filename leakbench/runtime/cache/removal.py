"""Removal of a folder of the cache, so that nobody finds half of it."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def remove_folder(path: Path) -> None:
    """Take a folder's name away in one move, then delete it: nobody reads half of it. One that is gone is no error."""
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with suppress(FileNotFoundError):
            path.rename(aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
