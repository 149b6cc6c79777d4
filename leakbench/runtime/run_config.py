"""Settings of a run that say where it works: folders, device, and the URL at which machines share artefacts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from leakbench.runtime.cache.location import shared_url


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; plain data, so that they can be sent to worker processes."""

    out: Path
    cache: Path
    device: str = "cpu"
    images: bool = True
    cell_limit: float | None = None  # minutes that a cell may take
    url: str = field(default_factory=shared_url)  # of the shared cache, or ""
