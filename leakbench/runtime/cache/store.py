"""The artefact cache: what training and sampling made, shared by runs.

A folder an artefact, named by its key, with a manifest of its files' hashes. It is written under a temporary name and
then renamed, so a kill leaves a whole artefact or none. A damaged file is found by its hash, named, and made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MANIFEST = "manifest.json"


class Store:
    """Artefacts of one kind under root/kind/key."""

    def __init__(self, root: Path, kind: str) -> None:
        self.folder = root / kind

    def path(self, key: str) -> Path:
        """Where the artefact of a key lies, or would lie."""
        return self.folder / key

    def has(self, key: str) -> bool:
        """Whether the artefact was written (its files are checked when it is opened)."""
        return (self.path(key) / MANIFEST).is_file()

    def whole(self, key: str) -> bool:
        """Whether the artefact need not be made (again)."""
        return self.open(key) is not None

    def open(self, key: str) -> Path | None:
        """The artefact's folder if it is there and whole. A damaged one is named on stderr, deleted, and None."""
        folder = self.path(key)
        if not self.has(key):
            return None
        wrong = damage(folder)
        if wrong is None:
            return folder
        print(f"leakbench: damaged artefact {folder}: {wrong}; making it again", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def write(self, key: str, fill: Callable[[Path], None]) -> Path:
        """`fill` writes files into an empty folder; then it takes its final name. A finished twin wins."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            fill(temporary)
            manifest = {p.name: _hash(p) for p in sorted(temporary.iterdir())}
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            self._name(temporary, key)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.path(key)

    def _name(self, temporary: Path, key: str) -> None:
        """Give a whole artefact its final name. rename() refuses a folder that is not empty: a finished twin stays."""
        final = self.path(key)
        with suppress(OSError):
            temporary.rename(final)
            return
        if damage(final) is not None:  # the rest of something older: take its place
            self._put_aside(key)
            temporary.rename(final)

    def _put_aside(self, key: str) -> None:
        """Take an artefact's name away in one move, then delete it."""
        aside = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        self.path(key).rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def get(self, key: str, make: Callable[[Path], None]) -> Path:
        """The artefact's folder, made by `make(folder)` if it is not there or damaged."""
        return self.open(key) or self.write(key, make)

    def drop(self, key: str) -> None:
        """Forget an artefact."""
        shutil.rmtree(self.path(key), ignore_errors=True)


def damage(folder: Path) -> str | None:
    """What is wrong with an artefact, in words, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return f"{MANIFEST} cannot be read"
    for name, wanted in manifest.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if _hash(path) != wanted:
            return f"{name} does not match its hash"
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
