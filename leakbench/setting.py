"""Where a run works: folders, device, and where machines share what they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from leakbench import group
from leakbench.store import Store, shared_url
from leakbench.store.grouped import GroupedStore
from leakbench.store.shared import SharedStore


@dataclass(frozen=True)
class Setting:
    """Where and how a run works; plain data, so that worker processes can be handed it."""

    out: Path
    cache: Path
    device: str = "cpu"
    images: bool = True
    url: str = field(default_factory=shared_url)  # where machines share the cache, or ""

    def store(self, kind: str) -> Store:
        """The artefacts of one kind."""
        store = SharedStore(self.cache, kind, self.url) if self.url else Store(self.cache, kind)
        return GroupedStore(store) if group.size() > 1 else store
