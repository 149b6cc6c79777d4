"""Artefacts at a URL (s3://, gs://, file:// ...) that machines share. fsspec, which comes with torch, speaks to it.

An artefact kind/key holds its files, each named by its sha256, and manifest.json, which names them. The manifest is
written last, in one move, so half an artefact does not exist; and as names follow content, two machines that make the
same artefact at the same time cannot mix their files.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from leakbench.runtime.cache.manifest import MANIFEST, Manifest, file_sha256, format_manifest, parse_manifest
from leakbench.runtime.errors import UsageError


class RemoteArtefacts:
    """Artefacts of one kind under URL/key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.files, self.base = _file_system(url)

    def manifest(self, key: str) -> Manifest | None:
        """The manifest of an artefact; None where there is none that can be read: then the artefact does not exist."""
        try:
            return parse_manifest(self.files.cat_file(f"{self.base}/{key}/{MANIFEST}"))
        except FileNotFoundError:
            return None

    def find_damage(self, key: str, manifest: Manifest) -> str | None:
        """Say what is wrong with an artefact: a file is missing or its size differs. None if nothing is seen.

        Nothing is downloaded, so other bytes of the same size are seen only where the URL is a folder (file://); at an
        object store the hashes are compared when the artefact is pulled.
        """
        for name, entry in manifest.items():
            path = f"{self.base}/{key}/{entry.sha256}"
            size = self._size(path)
            if size is None:
                return f"{name} is missing"
            if size != entry.bytes or (self._is_folder and file_sha256(Path(path)) != entry.sha256):
                return f"{name} does not match its hash"
        return None

    def pull(self, key: str, manifest: Manifest, folder: Path) -> None:
        """Copy an artefact's files, and its manifest, into an empty folder. What is missing there is left out."""
        for name, entry in manifest.items():
            with suppress(FileNotFoundError):
                self.files.get_file(f"{self.base}/{key}/{entry.sha256}", str(folder / name))
        (folder / MANIFEST).write_text(format_manifest(manifest))

    def push(self, key: str, manifest: Manifest, folder: Path) -> None:
        """Copy an artefact from a folder to the URL, in the place of a damaged one."""
        there = f"{self.base}/{key}"
        damaged = self.files.exists(f"{there}/{MANIFEST}")  # else files of this size are a twin's, maybe being read
        self.files.makedirs(there, exist_ok=True)
        for name, entry in manifest.items():
            if damaged or self._size(f"{there}/{entry.sha256}") != entry.bytes:
                self._put(lambda to, name=name: self.files.put_file(str(folder / name), to), f"{there}/{entry.sha256}")
        self._put(lambda to: self.files.pipe_file(to, format_manifest(manifest).encode()), f"{there}/{MANIFEST}")

    def delete(self, key: str) -> None:
        """Delete an artefact: its manifest first, so that no half of it is found."""
        with suppress(FileNotFoundError):
            self.files.rm_file(f"{self.base}/{key}/{MANIFEST}")
        with suppress(FileNotFoundError):
            self.files.rm(f"{self.base}/{key}", recursive=True)

    def _put(self, write: Any, path: str) -> None:
        """Write under a name of its own, then move: a reader sees the old file or the new one."""
        unnamed = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}"
        write(unnamed)
        self.files.mv(unnamed, path)

    def _size(self, path: str) -> int | None:
        with suppress(FileNotFoundError):
            return int(self.files.size(path))
        return None

    @property
    def _is_folder(self) -> bool:
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.files, LocalFileSystem)


def check_reachable(url: str) -> None:
    """Raise UsageError if nothing can be written to a URL, read again and deleted."""
    try:
        files, base = _file_system(url)
        probe = f"{base}/.{uuid.uuid4().hex}"
        files.makedirs(base, exist_ok=True)
        files.pipe_file(probe, b"leakbench")
        same = files.cat_file(probe) == b"leakbench"
        files.rm_file(probe)
        with suppress(FileNotFoundError):  # some refuse to say that a file is missing: that has to be allowed
            files.cat_file(probe)
    except Exception as error:  # each file system has errors of its own
        words = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"LEAKBENCH_CACHE={url}: cannot be written to ({words}); name another URL or a folder"
        ) from None
    if not same:
        raise UsageError(
            f"LEAKBENCH_CACHE={url}: gives back something else than was written; name another URL or a folder"
        )


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it. It caches no listing: other machines write there too."""
    from fsspec.core import url_to_fs

    files, base = url_to_fs(url, use_listings_cache=False)
    return files, str(base)
