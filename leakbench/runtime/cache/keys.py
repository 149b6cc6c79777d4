"""Keys of artefacts: hashes of JSON-able parts and of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


def compute_key(**parts: Any) -> str:
    """sha256 of JSON-able parts, 40 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:40]


def digest_files(files: Sequence[Path]) -> str:
    """sha256 of the contents of files in their order, 40 hex digits. A file is read again only if it changed."""
    return compute_key(files=[_file_sha256(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files])


@cache
def _file_sha256(file: Path, _changed: int, _size: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
