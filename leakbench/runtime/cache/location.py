"""Location of the artefact cache."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_root() -> Path:
    """Folder of the cache: $LEAKBENCH_CACHE, or the user's cache folder where that is not set or is a URL."""
    named = os.environ.get("LEAKBENCH_CACHE")
    if named and not shared_url():
        return Path(named).expanduser()
    return user_cache_path("leakbench", appauthor=False)


def shared_url() -> str:
    """$LEAKBENCH_CACHE where it is a URL, under which machines share artefacts (see remote.py), else ""."""
    named = os.environ.get("LEAKBENCH_CACHE", "")
    return named if "://" in named else ""
