"""The artefact cache where machines share it by URL (s3://, gs://, file:// ...), each with a copy of its own.

fsspec, which comes with torch, speaks to the URL. The URL is the truth and the local folder spares downloads: an
artefact that is not at the URL does not exist, a local copy of an older making is replaced. At the URL an artefact
kind/key holds its files, each named by its sha256, and manifest.json, which names them. The manifest is written last,
in one move, so that half an artefact does not exist; and as names follow content, two machines that make the same
artefact at the same time cannot mix their files. What was pulled is checked by its hashes.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from leakbench.runtime.cache.keys import key_of
from leakbench.runtime.cache.store import MANIFEST, Store, damage
from leakbench.runtime.errors import UsageError


class SharedStore(Store):
    """Artefacts of one kind under URL/kind/key, with copies under root/shared/(hash of the URL)/kind/key."""

    def __init__(self, root: Path, kind: str, url: str) -> None:
        super().__init__(root / "shared" / key_of(url=url)[:12], kind)
        self.url = f"{url.rstrip('/')}/{kind}"
        self.files, self.base = _file_system(self.url)

    def has(self, key: str) -> bool:
        """Whether the artefact is at the URL (its files are checked when it is opened)."""
        return self._listed(key) is not None

    whole = has  # asked of many artefacts by a machine that opens none: nothing is downloaded

    def open(self, key: str) -> Path | None:
        """The folder of the local copy, pulled if need be. A damaged artefact is named on stderr, deleted, and None."""
        listed = self._listed(key)
        if listed is None:
            return None
        if self._copied(key) == listed and damage(self.path(key)) is None:
            return self.path(key)
        return self._pull(key, listed)

    def drop(self, key: str) -> None:
        """Forget an artefact, here and at the URL."""
        with suppress(FileNotFoundError):
            self.files.rm_file(f"{self.base}/{key}/{MANIFEST}")  # first, so that no half of it is found
        with suppress(FileNotFoundError):
            self.files.rm(f"{self.base}/{key}", recursive=True)
        super().drop(key)

    def _listed(self, key: str) -> dict[str, str] | None:
        """The manifest at the URL, or None."""
        try:
            return _manifest(self.files.cat_file(f"{self.base}/{key}/{MANIFEST}"))
        except FileNotFoundError:
            return None

    def _copied(self, key: str) -> dict[str, str] | None:
        """The manifest of the local copy, or None."""
        with suppress(OSError):
            return _manifest((self.path(key) / MANIFEST).read_bytes())
        return None

    def _pull(self, key: str, listed: dict[str, str]) -> Path | None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            for name, digest in listed.items():
                with suppress(FileNotFoundError):
                    self.files.get_file(f"{self.base}/{key}/{digest}", str(temporary / Path(name).name))
            (temporary / MANIFEST).write_text(json.dumps(listed, indent=1, sort_keys=True))
            if wrong := damage(temporary):
                print(f"leakbench: damaged artefact {self.url}/{key}: {wrong}; making it again", file=sys.stderr)
                self.drop(key)
                return None
            self._copy(temporary, key)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.path(key)

    def _name(self, temporary: Path, key: str) -> None:
        """What was made goes to the URL, then takes its final name here. A finished twin at the URL wins."""
        if self.open(key) is None:
            self._push(temporary, key)
            self._copy(temporary, key)

    def _push(self, folder: Path, key: str) -> None:
        there, text = f"{self.base}/{key}", (folder / MANIFEST).read_bytes()
        self.files.makedirs(there, exist_ok=True)
        for name, digest in json.loads(text).items():
            if self._size(f"{there}/{digest}") != (folder / name).stat().st_size:  # else a twin's, maybe being read
                self.files.put_file(str(folder / name), f"{there}/{digest}")
        unnamed = f"{there}/.{uuid.uuid4().hex}"
        self.files.pipe_file(unnamed, text)
        self.files.mv(unnamed, f"{there}/{MANIFEST}")

    def _size(self, path: str) -> int | None:
        with suppress(FileNotFoundError):
            return int(self.files.size(path))
        return None

    def _copy(self, temporary: Path, key: str) -> None:
        """Take the final name here, in the place of a copy of an older making."""
        if self.path(key).exists() and self._copied(key) != _manifest((temporary / MANIFEST).read_bytes()):
            self._put_aside(key)
        super()._name(temporary, key)


def check_reachable(url: str) -> None:
    """Raise UsageError if nothing can be written to a URL, read again and deleted."""
    try:
        files, base = _file_system(url)
        probe = f"{base}/.{uuid.uuid4().hex}"
        files.makedirs(base, exist_ok=True)
        files.pipe_file(probe, b"leakbench")
        whole = files.cat_file(probe) == b"leakbench"
        files.rm_file(probe)
        with suppress(FileNotFoundError):  # some refuse to say that a file is missing: that has to be allowed
            files.cat_file(probe)
    except Exception as error:  # each file system has errors of its own
        words = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"LEAKBENCH_CACHE={url}: cannot be written to ({words}); name another URL or a folder"
        ) from None
    if not whole:
        raise UsageError(
            f"LEAKBENCH_CACHE={url}: gives back something else than was written; name another URL or a folder"
        )


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it. It remembers no listing: other machines write there too."""
    from fsspec.core import url_to_fs

    files, base = url_to_fs(url, use_listings_cache=False)
    return files, str(base)


def _manifest(text: bytes) -> dict[str, str] | None:
    """A manifest's hashes by file name; None for what is none (a machine that went away in the middle of writing)."""
    with suppress(ValueError):
        listed = json.loads(text)
        if isinstance(listed, dict):
            return listed
    return None
