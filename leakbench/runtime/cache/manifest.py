"""The manifest of an artefact: size and sha256 of each of its files, as JSON."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """Size and hash of one file."""

    bytes: int
    sha256: str


Manifest = dict[str, FileEntry]  # by the file's name


def build_manifest(folder: Path) -> Manifest:
    """The manifest of all files in a folder, but for one that is there already."""
    files = [path for path in sorted(folder.iterdir()) if path.name != MANIFEST]
    return {path.name: FileEntry(path.stat().st_size, file_sha256(path)) for path in files}


def format_manifest(manifest: Manifest) -> str:
    """A manifest as JSON."""
    return json.dumps({name: asdict(entry) for name, entry in manifest.items()}, indent=1, sort_keys=True)


def parse_manifest(text: bytes) -> Manifest | None:
    """The manifest that a JSON text holds; None if it is damaged, or names a file that is not in its own folder."""
    with suppress(ValueError, TypeError, AttributeError):
        manifest = {name: FileEntry(**entry) for name, entry in json.loads(text).items()}
        if all(Path(name).name == name for name in manifest):
            return manifest
    return None


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder; None where there is none that can be read."""
    with suppress(OSError):
        return parse_manifest((folder / MANIFEST).read_bytes())
    return None


def find_damage(folder: Path) -> str | None:
    """Say what is wrong with an artefact's folder: a file is missing or its hash differs. None if it is whole."""
    manifest = read_manifest(folder)
    if manifest is None:
        return f"{MANIFEST} cannot be read"
    for name, entry in manifest.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != entry.sha256:
            return f"{name} does not match its hash"
    return None


def file_sha256(path: Path) -> str:
    """sha256 of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
