"""What lies in a cache folder, by kind: what `leakbench clean` may remove, and what it leaves.

Known are names that leakbench gives: KIND/KEY, where KEY is 40 hex digits. All else in the folder is somebody else's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leakbench.runtime.cache.manifest import MANIFEST, read_manifest
from leakbench.runtime.cache.use import last_use

KINDS: Final = {"fits": "networks", "samples": "samples", "readers": "features", "packed": "images", "told": "captions"}
CHECKPOINTS, LEFT_OVER = "checkpoints", "left over"
KEPT: Final = ("weights", "downloads", "captions", "in_memory", "hosted")  # fetched from elsewhere, or given by a user

_KEY = re.compile(r"[0-9a-f]{40}")
_UNFINISHED = re.compile(r"\.([0-9a-f]{40})\.\w+")
_YOUNG = 3600.0  # seconds for which a folder without a final name may be one that is being made


@dataclass(frozen=True)
class CacheItem:
    """Something that can be removed whole.

    used: when it was last used or made, in seconds since 1970. bytes: of its files. locks: the lock files that a
    process which works on it holds. files: those that go where not the whole folder `path` does; None for all of it.
    """

    kind: str
    path: Path
    bytes: int
    used: float
    locks: tuple[Path, ...] = ()
    files: tuple[Path, ...] | None = None

    @property
    def is_left_over(self) -> bool:
        """True of what a killed process had begun."""
        return self.kind == LEFT_OVER


def list_items(root: Path) -> list[CacheItem]:
    """All artefacts of a cache folder, local copies of a shared cache's among them; its checkpoints; and folders that
    killed processes had begun to fill an hour ago or longer. Nothing is opened, so nothing counts as used."""
    homes = [root, *(path for path in (root / "shared").glob("*") if path.is_dir() and not path.is_symlink())]
    found = [item for home in homes for kind in KINDS for item in _list_kind(home, kind)]
    for path in _list_folders(root / "checkpoints"):
        if _KEY.fullmatch(path.name):
            locks = tuple(home / "locks" / f"fits-{path.name}" for home in homes)
            size, newest = measure_folder(path)
            found.append(CacheItem(CHECKPOINTS, path, size, newest, locks))
    return found


def measure_kept(root: Path) -> dict[str, int]:
    """Bytes of what lies in the cache folder and is not removed, by the name of its folder."""
    return {name: measure_folder(root / name)[0] for name in KEPT if (root / name).is_dir()}


def find_foreign(item: CacheItem) -> str | None:
    """The name of a file in an artefact's folder that leakbench did not write there; None if there is none. A folder
    without a readable manifest is what a kill of an earlier version left, and all its own."""
    manifest = read_manifest(item.path) if item.kind in KINDS.values() else None
    if manifest is None:
        return None
    names = {path.name for path in item.path.iterdir()} - {MANIFEST, *manifest}
    return min(names, default=None)


def measure_folder(folder: Path) -> tuple[int, float]:
    """Bytes of all files below a folder, and the newest time at which one was changed."""
    size, newest = 0, 0.0
    for path in [folder, *folder.rglob("*")]:
        with suppress(OSError):
            about = path.lstat()
            size += about.st_size if not path.is_dir() else 0
            newest = max(newest, about.st_mtime)
    return size, newest


def _list_kind(home: Path, kind: str) -> Iterator[CacheItem]:
    for path in _list_folders(home / kind):
        if _KEY.fullmatch(path.name) and (path / MANIFEST).is_file():
            locks = (home / "locks" / f"{kind}-{path.name}",)
            yield CacheItem(KINDS[kind], path, measure_folder(path)[0], last_use(path), locks)
        elif matched := _UNFINISHED.fullmatch(path.name):
            size, newest = measure_folder(path)
            if time.time() - newest > _YOUNG:
                yield CacheItem(LEFT_OVER, path, size, newest, (home / "locks" / f"{kind}-{matched[1]}",))


def _list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and not path.is_symlink())
