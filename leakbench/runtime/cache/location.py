"""Where the artefact cache lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_root() -> Path:
    """$LEAKBENCH_CACHE, or the user's cache folder where that is not set or is a URL."""
    named = os.environ.get("LEAKBENCH_CACHE")
    if named and not shared_url():
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "leakbench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leakbench"


def shared_url() -> str:
    """$LEAKBENCH_CACHE where it is a URL, under which machines share artefacts (see shared.py), or ""."""
    named = os.environ.get("LEAKBENCH_CACHE", "")
    return named if "://" in named else ""
