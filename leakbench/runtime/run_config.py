"""Where a run works: folders, device, and where machines share what they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from leakbench.runtime import distributed
from leakbench.runtime.cache.distributed import GroupedStore
from leakbench.runtime.cache.location import shared_url
from leakbench.runtime.cache.remote import SharedStore
from leakbench.runtime.cache.store import Store


@dataclass(frozen=True)
class RunConfig:
    """Where and how a run works; plain data, so that worker processes can be handed it."""

    out: Path
    cache: Path
    device: str = "cpu"
    images: bool = True
    url: str = field(default_factory=shared_url)  # where machines share the cache, or ""

    def store(self, kind: str) -> Store:
        """The artefacts of one kind."""
        store = SharedStore(self.cache, kind, self.url) if self.url else Store(self.cache, kind)
        return GroupedStore(store) if distributed.world_size() > 1 else store
