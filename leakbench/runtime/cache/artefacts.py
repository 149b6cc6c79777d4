"""The artefact cache: what training and sampling made, shared by runs.

An artefact is a folder, named by its key, with a manifest of its files' hashes. It is written under a temporary name
and then renamed, so a kill leaves a whole artefact or none. A damaged one is found by its hashes, named on stderr, and
replaced by whoever makes it again. Asking about an artefact changes nothing.

Machines may share artefacts at a URL (remote.py). The URL is then the truth, and the folder spares downloads: an
artefact that is not at the URL does not exist, and a local copy of another one under its key is replaced.
"""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from leakbench.runtime import distributed
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.locks import exclusive
from leakbench.runtime.cache.manifest import (
    MANIFEST,
    Manifest,
    build_manifest,
    find_damage,
    format_manifest,
    read_manifest,
)
from leakbench.runtime.cache.remote import RemoteArtefacts
from leakbench.runtime.cache.removal import remove_folder
from leakbench.runtime.cache.use import note_use
from leakbench.runtime.run_config import RunConfig

Result = TypeVar("Result")


class ArtefactCache:
    """Artefacts of one kind under root/kind/key, or at url/kind/key with copies under root/shared/HASH/kind/key.

    `collective`: every rank of a process group calls the methods, in step; rank 0 looks, writes and answers for all.
    """

    def __init__(self, root: Path, kind: str, url: str = "", collective: bool = False) -> None:
        self.kind, self.collective = kind, collective
        self._reported: set[str] = set()
        self.remote = RemoteArtefacts(f"{url.rstrip('/')}/{kind}") if url else None
        self.folder = (root / "shared" / compute_key(url=url)[:12] if url else root) / kind

    @classmethod
    def of_run(cls, config: RunConfig, kind: str) -> ArtefactCache:
        """The artefacts of one kind that a run uses."""
        return cls(config.cache, kind, config.url, collective=True)

    def path(self, key: str) -> Path:
        """Folder of an artefact on this machine, whether or not it is there."""
        return self.folder / key

    def exists(self, key: str) -> bool:
        """True if an artefact was written; it may be damaged."""
        return self._on_rank_0(lambda: self._manifest(key) is not None)

    def is_valid(self, key: str) -> bool:
        """True if an artefact is there and whole, so that it need not be made. Nothing is downloaded."""
        return self._on_rank_0(lambda: self._is_valid(key))

    def get_valid(self, key: str) -> Path | None:
        """Folder of an artefact, downloaded if need be; None if it is not there. A damaged one is named on stderr. That
        it was used now is noted, for `leakbench clean`."""
        return self._on_rank_0(lambda: self._use_valid(key))

    def get_or_make(self, key: str, make: Callable[[Path], None]) -> Path:
        """Folder of an artefact, which `make(folder)` fills if it is missing or damaged; one process at a time."""
        folder = self.get_valid(key)
        if folder is not None:
            return folder
        with self.one_writer([key]):
            return self.get_valid(key) or self.write(key, make)

    def write(self, key: str, fill: Callable[[Path], None]) -> Path:
        """Store what `fill(folder)` writes into an empty folder. A valid artefact that is there by then stays.

        In a collective cache every rank fills a folder; that of rank 0 is kept.
        """
        if self.collective and distributed.rank() != 0:
            with tempfile.TemporaryDirectory() as folder:
                fill(Path(folder))
                return self._on_rank_0(lambda: self.path(key))
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            fill(temporary)
            return self._on_rank_0(lambda: self._publish(temporary, key))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def one_writer(self, keys: Iterable[str]) -> Iterator[None]:
        """Keep other processes from making these artefacts inside: rank 0 holds their locks.

        Waits for a process that makes one of them now, so ask for valid artefacts again inside.
        """
        with ExitStack() as locks:
            for key in sorted(keys):  # in one order, so that two processes never wait for each other
                self._on_rank_0(partial(_enter, locks, self._locked(key)))
            yield

    def delete(self, key: str) -> None:
        """Delete an artefact, here and at the URL."""
        self._on_rank_0(lambda: self._delete(key))

    def _on_rank_0(self, make: Callable[[], Result]) -> Result:
        return distributed.broadcast(make) if self.collective else make()

    def _locked(self, key: str) -> AbstractContextManager[None]:
        return exclusive(self.folder.parent / "locks" / f"{self.kind}-{key}", f"makes {self.kind}/{key}")

    def _manifest(self, key: str) -> Manifest | None:
        return self.remote.manifest(key) if self.remote else read_manifest(self.path(key))

    def _is_valid(self, key: str) -> bool:
        if self.remote is None:
            return find_damage(self.path(key)) is None
        manifest = self.remote.manifest(key)
        return manifest is not None and self.remote.find_damage(key, manifest) is None

    def _get_valid(self, key: str) -> Path | None:
        folder = self.path(key)
        if self.remote is None:
            there = (folder / MANIFEST).exists()
            return folder if there and self._is_undamaged(key, find_damage(folder)) else None
        manifest = self.remote.manifest(key)
        if manifest is None or not self._is_undamaged(key, self.remote.find_damage(key, manifest)):
            return None
        if self._is_whole(key, manifest):
            return folder
        with self._locked(key):
            return folder if self._is_whole(key, manifest) else self._pull(key, manifest)

    def _use_valid(self, key: str) -> Path | None:
        folder = self._get_valid(key)
        if folder is not None:
            note_use(folder)
        return folder

    def _address(self, key: str) -> str:
        return f"{self.remote.url}/{key}" if self.remote else str(self.path(key))

    def _is_undamaged(self, key: str, wrong: str | None) -> bool:
        """True if nothing is wrong; else name it on stderr, once: it is asked for again before it is made again."""
        if wrong is not None and key not in self._reported:
            print(f"leakbench: damaged artefact {self._address(key)}: {wrong}; making it again", file=sys.stderr)
            self._reported.add(key)
        return wrong is None

    def _is_whole(self, key: str, manifest: Manifest | None) -> bool:
        """True if the folder of an artefact is undamaged, and of this manifest where one is given."""
        folder = self.path(key)
        return (manifest is None or read_manifest(folder) == manifest) and find_damage(folder) is None

    def _pull(self, key: str, manifest: Manifest) -> Path | None:
        assert self.remote is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder))
        try:
            self.remote.pull(key, manifest, temporary)
            if not self._is_undamaged(key, find_damage(temporary)):
                return None
            self._rename(temporary, key, manifest)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return self.path(key)

    def _publish(self, folder: Path, key: str) -> Path:
        """Give a filled folder its final name, at the URL first. A valid twin stays."""
        manifest = build_manifest(folder)
        (folder / MANIFEST).write_text(format_manifest(manifest))
        with self._locked(key):
            if self._get_valid(key) is None:
                if self.remote:
                    self.remote.push(key, manifest, folder)
                self._rename(folder, key, manifest)
                self._reported.discard(key)
        return self.path(key)

    def _rename(self, folder: Path, key: str, manifest: Manifest) -> None:
        """Rename a whole folder to its final name, in the place of what is damaged or of another manifest."""
        while True:
            if self.path(key).exists():
                if self._is_whole(key, manifest if self.remote else None):
                    return
                remove_folder(self.path(key))
            try:
                folder.rename(self.path(key))
                return
            except OSError as error:  # where locks do nothing, a twin may have been renamed just now
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def _delete(self, key: str) -> None:
        if self.remote:
            self.remote.delete(key)
        if self.path(key).exists():
            with self._locked(key):
                remove_folder(self.path(key))


def _enter(stack: ExitStack, context: AbstractContextManager[None]) -> None:
    stack.enter_context(context)
