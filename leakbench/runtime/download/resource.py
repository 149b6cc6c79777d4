"""Files from the network: downloaded once, resumed, checksummed, and named to users who have no network.

A file is received under its name with `.part` and renamed when it is whole and its hash is right, so what bears the
final name can be trusted. Beside it lies FILE.sha256, as `sha256sum` writes and checks it. Choices of ours:

- Where the publisher gives no hash, the one found at the first download counts from then on.
- A file that was not touched since its .sha256 was written is not hashed again: some are many gigabytes.
- A file that somebody put there by hand is checked like a downloaded one. A damaged one stays until its successor is
  whole.
- Two processes that want one file: the second waits for the first, by a lock on the .part file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from leakbench.runtime.cache.location import cache_root
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


def offline() -> bool:
    """Whether the network is forbidden: `--offline`, or $HF_HUB_OFFLINE as the hub's own libraries read it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def downloads_folder() -> Path:
    """Where data sets are kept: $LEAKBENCH_CACHE/downloads."""
    return cache_root() / "downloads"


def fetch(resource: Resource, folder: Path, progress: Progress | None = None) -> Path:
    """The file of a resource in a folder, downloaded if it is not there or damaged; `progress(here, total)` in bytes.

    Raises UsageError, in one line that says which file comes from where and belongs where, when there is no network,
    it is forbidden, no address has the file, or what came has another hash.
    """
    path = folder / resource.file
    wrong = damage(resource, path) if path.is_file() else "it is not here"
    if wrong is not None:
        _replace(resource, path, wrong, progress or StderrProgress(resource.file, folder))
    for files in _listening:
        files.append((resource, path))
    return path


@contextmanager
def noted() -> Iterator[list[tuple[Resource, Path]]]:
    """The files that are fetched meanwhile, whether they were there before or not."""
    files: list[tuple[Resource, Path]] = []
    _listening.append(files)
    try:
        yield files
    finally:
        _listening.remove(files)


_listening: list[list[tuple[Resource, Path]]] = []


def _replace(resource: Resource, path: Path, wrong: str, progress: Progress) -> None:
    if offline():
        words = f"{resource.name}: {path}: {wrong}, and the network is not to be used (--offline, HF_HUB_OFFLINE)"
        raise UsageError(f"{words}; {_by_hand(resource, path.parent)}")
    if path.is_file():
        print(f"leakbench: {path}: {wrong}; downloading it again", file=sys.stderr)
    check_writable(path.parent, f"{resource.name}: the folder")
    with _alone(path.with_name(f"{path.name}.part")) as file:
        if not path.is_file() or damage(resource, path) is not None:  # else another process was faster
            _download(resource, file, path, progress)


def damage(resource: Resource, path: Path) -> str | None:
    """What is wrong with a file that should be the resource, in words, or None: then its hash is noted beside it."""
    noted = noted_hash(path)
    if _untouched(path) and noted.startswith((resource.sha256 or "").lower()):
        return None
    wrong = _wrong(resource, path, noted)
    if wrong is None:
        _write_note(path)
    return wrong


def noted_hash(path: Path) -> str:
    """The sha256 that was noted beside a fetched file; "" where there is none."""
    return next(iter(_note(path).read_text().split()), "") if _note(path).is_file() else ""


def known_hash(path: Path) -> str:
    """sha256 of a file: the noted one where the file was not touched since, else computed."""
    return noted_hash(path) if _untouched(path) else _hash(path, "sha256")


def _untouched(path: Path) -> bool:
    """Whether the file's hash was noted and the file not touched since: of that, the time of last change cannot lie."""
    return bool(noted_hash(path)) and path.stat().st_ctime_ns <= _note(path).stat().st_mtime_ns


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _write_note(path: Path) -> None:
    with suppress(OSError):  # a read-only folder: then the file is hashed every time
        _note(path).write_text(f"{_hash(path, 'sha256')}  {path.name}\n")


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _wrong(resource: Resource, path: Path, noted: str) -> str | None:
    """What does not match: the publisher's hashes or, where there are none, the one noted at the first download."""
    wanted = {"sha256": resource.sha256, "md5": resource.md5}
    first = not any(wanted.values())
    for kind, digits in wanted.items() if not first else [("sha256", noted)]:
        if digits and not (found := _hash(path, kind)).startswith(digits.lower()):
            return f"its {kind} is {found}, not {digits}" + ", which the first download had" * first
    return None


def _download(resource: Resource, file: IO[bytes], path: Path, progress: Progress) -> None:
    failed = []
    for url in resource.urls:
        try:
            receive(url, file, progress)
        except DownloadError as error:
            failed.append(f"{url}: {error}")
            continue
        wrong = _wrong(resource, Path(file.name), noted_hash(path))
        if wrong is None:
            os.replace(file.name, path)
            _write_note(path)
            return
        file.truncate(0)
        failed.append(f"{url}: {wrong}; deleted")
    raise UsageError(f"{resource.name}: no {resource.file} ({'; '.join(failed)}); {_by_hand(resource, path.parent)}")


def _by_hand(resource: Resource, folder: Path) -> str:
    return f"put {resource.file} from {resource.urls[0]} into {folder}"


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """The .part file, open for appending, for one process at a time. An empty one is not left behind."""
    while True:
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _still(file, part):
                continue  # the process that had it finished it, and it bears its final name now
            try:
                yield file
            finally:
                if _still(file, part) and not part.stat().st_size:
                    part.unlink()
            return


def _still(file: IO[bytes], part: Path) -> bool:
    """Whether an open file is the one that bears this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.stat())
    except FileNotFoundError:
        return False
