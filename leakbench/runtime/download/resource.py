"""Files from the network: downloaded once, resumed, checksummed, and named to users who have no network.

A file is received under its name with `.part` and renamed when it is whole and its hash is right, so what bears the
final name can be trusted. Choices of ours:

- A file that somebody put there by hand is checked like a downloaded one. A damaged one stays until its successor is
  whole.
- Of two processes that want one file, the second waits for the first.
- No library: pooch (1.9) takes up no broken download (it asks for no ranges, and deletes what came), and two processes
  download twice; huggingface_hub resumes, but only from its own hub.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.cache.locks import exclusive
from leakbench.runtime.download.checksum import compare_hashes, find_damage, record_sha256, recorded_sha256
from leakbench.runtime.download.http import DownloadError, Progress, StderrProgress, receive
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import check_writable


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A file that somebody publishes.

    `name` is what users call it, `file` its name in a folder, `urls` its addresses, tried in order. `sha256` may be
    the first digits alone, eight or more, as torchvision puts them into file names; `md5` serves where the publisher
    gives no other. `bytes` is about how large it is, for lists.
    """

    name: str
    file: str
    urls: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None

    def find_damage(self, path: Path) -> str | None:
        """Say what is wrong with a file that should be this one, or None: then its hash is recorded beside it."""
        return find_damage(path, self.sha256, self.md5)


def is_offline() -> bool:
    """True if the network must not be used: `--offline`, or $HF_HUB_OFFLINE as the hub's own libraries read it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def downloads_folder() -> Path:
    """Folder of the data sets' files: $LEAKBENCH_CACHE/downloads."""
    return cache_root() / "downloads"


def fetch(resource: Resource, folder: Path, progress: Progress | None = None) -> Path:
    """The file of a resource in a folder, downloaded if it is not there or damaged; `progress(here, total)` in bytes.

    Raises UsageError, in one line that says which file comes from where and belongs where, when there is no network,
    it must not be used, no address has the file, or what came has another hash.
    """
    path = folder / resource.file
    wrong = resource.find_damage(path) if path.is_file() else "it is not here"
    if wrong is not None:
        _replace(resource, path, wrong, progress or StderrProgress(resource.file, folder))
    for files in _records:
        files.append((resource, path))
    return path


@contextmanager
def record_fetches() -> Iterator[list[tuple[Resource, Path]]]:
    """List the files that are fetched inside, whether they were there before or not."""
    files: list[tuple[Resource, Path]] = []
    _records.append(files)
    try:
        yield files
    finally:
        _records.remove(files)


_records: list[list[tuple[Resource, Path]]] = []


def _replace(resource: Resource, path: Path, wrong: str, progress: Progress) -> None:
    """Download a file that is missing or damaged, unless another process does so first."""
    if is_offline():
        words = f"{resource.name}: {path}: {wrong}, and the network is not to be used (--offline, HF_HUB_OFFLINE)"
        raise UsageError(f"{words}; {_by_hand(resource, path.parent)}")
    if path.is_file():
        print(f"leakbench: {path}: {wrong}; downloading it again", file=sys.stderr)
    check_writable(path.parent, f"{resource.name}: the folder")
    part, lock = path.with_name(f"{path.name}.part"), f"download-{compute_key(path=str(path.resolve()))}"
    with exclusive(cache_root() / "locks" / lock, f"downloads {resource.file}"), part.open("ab") as file:
        try:
            if not path.is_file() or resource.find_damage(path) is not None:
                _download(resource, file, path, progress)
        finally:
            if part.is_file() and not part.stat().st_size:
                part.unlink()


def _download(resource: Resource, file: IO[bytes], path: Path, progress: Progress) -> None:
    """Receive a file from the first address that has it, and rename it. Raises UsageError that lists what failed."""
    failed = []
    for url in resource.urls:
        try:
            receive(url, file, progress)
        except DownloadError as error:
            failed.append(f"{url}: {error}")
            continue
        wrong = compare_hashes(Path(file.name), resource.sha256, resource.md5, recorded_sha256(path))
        if wrong is None:
            os.replace(file.name, path)
            record_sha256(path)
            return
        file.truncate(0)
        failed.append(f"{url}: {wrong}; deleted")
    raise UsageError(f"{resource.name}: no {resource.file} ({'; '.join(failed)}); {_by_hand(resource, path.parent)}")


def _by_hand(resource: Resource, folder: Path) -> str:
    return f"put {resource.file} from {resource.urls[0]} into {folder}"
