"""The artefact cache of a group of processes: the first one looks and writes, and all go by what it says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from leakbench.runtime import distributed
from leakbench.runtime.cache.store import Store


class GroupedStore(Store):
    """A store that every process of a group has, all in one folder. Its methods are called by all of them."""

    def __init__(self, store: Store) -> None:
        self.store, self.folder = store, store.folder

    def has(self, key: str) -> bool:
        """As the first process sees it, before which nobody goes on."""
        return distributed.broadcast(lambda: self.store.has(key))

    def whole(self, key: str) -> bool:
        """As the first process sees it."""
        return distributed.broadcast(lambda: self.store.whole(key))

    def open(self, key: str) -> Path | None:
        """The folder, as the first process sees it."""
        return distributed.broadcast(lambda: self.store.open(key))

    def write(self, key: str, fill: Callable[[Path], None]) -> Path:
        """All fill a folder, which may take all of them; that of the first is kept."""
        if distributed.rank() == 0 or distributed.world_size() == 1:
            self.store.write(key, fill)
        else:
            with tempfile.TemporaryDirectory() as folder:
                fill(Path(folder))
        return distributed.broadcast(lambda: self.path(key))

    def drop(self, key: str) -> None:
        """Forgotten by the first process."""
        distributed.broadcast(lambda: self.store.drop(key))
