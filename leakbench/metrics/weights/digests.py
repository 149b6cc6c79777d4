"""Hashes of weight files: results depend on them beside the names of the networks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from leakbench.metrics.weights.resources import DINOV2, INCEPTION, at_hand
from leakbench.runtime.download.checksum import file_sha256


def feature_weights_digest(name: str) -> str:
    """sha256 of the file that the features of a name are read from; "" where there is none."""
    if name.startswith("torchscript:"):
        return file_digest(Path(name.removeprefix("torchscript:")))
    needed = {"auto": INCEPTION, "inception": INCEPTION, "dinov2": DINOV2}.get(name)
    return file_digest(at_hand(needed)) if needed else ""


def file_digest(path: Path | None) -> str:
    """sha256 of a file; "" where there is none."""
    return _digest_at(path, path.stat().st_mtime_ns) if path is not None and path.is_file() else ""


@cache
def _digest_at(path: Path, changed: int) -> str:
    return file_sha256(path)
