"""The parts of a cache key, kept beside what was made under it: they say what a later key differs in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KEY_FILE = "key.json"


def write_key_parts(folder: Path, parts: dict[str, Any]) -> None:
    """Write the parts of an artefact's key into its folder."""
    (folder / KEY_FILE).write_text(json.dumps(parts, indent=1, sort_keys=True, default=str) + "\n")


def read_key_parts(folder: Path) -> dict[str, Any] | None:
    """The parts of the key of an artefact; None where none are kept."""
    try:
        found = json.loads((folder / KEY_FILE).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
