"""The artefact cache: what training and sampling made, shared by runs.

A folder an artefact, named by its key, with a manifest of its files' hashes. It is written under a temporary name and
then renamed, so a kill leaves a whole artefact or none. A damaged file is found by its hash, named, and made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from leakbench.errors import UsageError

MANIFEST = "manifest.json"


def cache_root() -> Path:
    """$LEAKBENCH_CACHE, or the user's cache folder where that is not set or is a URL."""
    named = os.environ.get("LEAKBENCH_CACHE")
    if named and not shared_url():
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "leakbench"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leakbench"


def shared_url() -> str:
    """$LEAKBENCH_CACHE where it is a URL, under which machines share artefacts (see shared.py), or ""."""
    named = os.environ.get("LEAKBENCH_CACHE", "")
    return named if "://" in named else ""


def key_of(**parts: Any) -> str:
    """sha256 of JSON-able parts, 40 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:40]


def digest_of(files: Sequence[Path]) -> str:
    """sha256 of the content of files in their order, 40 hex digits; each is read again only once it has changed."""
    return key_of(files=[_unchanged(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files])


@cache
def _unchanged(file: Path, _changed: int, _size: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_writable(folder: Path, what: str) -> None:
    """Raise UsageError if the folder cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{what} {folder}: cannot be written to ({error.strerror}); choose another folder") from None


def disk_is_full(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written: no space, quota or file size limit reached."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    # safetensors and zipfile say it in words of their own
    return getattr(error, "errno", None) in full or any(f"os error {number}" in str(error) for number in full)


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
