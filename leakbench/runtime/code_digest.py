"""The code that a key depends on: a change of it makes what it made anew."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def sources(*modules: str) -> str:
    """sha256 of the source of harness modules; of a package, all its files."""
    total = hashlib.sha256()
    for name in modules:
        spec = find_spec(f"leakbench.{name}")
        assert spec is not None and spec.origin is not None
        origin = Path(spec.origin)
        for path in sorted(origin.parent.glob("*.py")) if spec.submodule_search_locations else (origin,):
            total.update(path.read_bytes())
    return total.hexdigest()
