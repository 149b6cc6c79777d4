"""Hashes of downloaded files: checked against the publisher's, and recorded beside the file.

Beside FILE lies FILE.sha256, as `sha256sum` writes and checks it. Where the publisher gives no hash, the one recorded
at the first download counts. A file that was not touched since its hash was recorded is not hashed again: some are many
gigabytes.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def find_damage(path: Path, sha256: str | None, md5: str | None) -> str | None:
    """Say what is wrong with a downloaded file, or None: then its hash is recorded beside it.

    `sha256` may be the first digits alone.
    """
    if _is_untouched(path) and recorded_sha256(path).startswith((sha256 or "").lower()):
        return None
    wrong = compare_hashes(path, sha256, md5, recorded_sha256(path))
    if wrong is None:
        record_sha256(path)
    return wrong


def compare_hashes(path: Path, sha256: str | None, md5: str | None, first: str) -> str | None:
    """Compare a file with its publisher's hashes or, where there are none, with that of the first download.

    Returns the hash that differs, in words, or None.
    """
    published = {kind: digits for kind, digits in (("sha256", sha256), ("md5", md5)) if digits}
    for kind, digits in (published or {"sha256": first}).items():
        if digits and not (found := _hash(path, kind)).startswith(digits.lower()):
            return f"its {kind} is {found}, not {digits}" + ("" if published else ", which the first download had")
    return None


def recorded_sha256(path: Path) -> str:
    """The sha256 that was recorded beside a file; "" where there is none."""
    return next(iter(_record(path).read_text().split()), "") if _record(path).is_file() else ""


def file_sha256(path: Path) -> str:
    """sha256 of a downloaded file: the recorded one where the file was not touched since, else computed."""
    return recorded_sha256(path) if _is_untouched(path) else _hash(path, "sha256")


def record_sha256(path: Path) -> None:
    """Write FILE.sha256. In a read-only folder nothing is written, and the file is hashed every time."""
    with suppress(OSError):
        changed = path.stat().st_ctime_ns
        _record(path).write_text(f"{_hash(path, 'sha256')}  {path.name}\n")
        os.utime(_record(path), ns=(changed, changed))


def _is_untouched(path: Path) -> bool:
    """True if the file did not change since its hash was recorded: the record bears the file's time of last change,
    which cannot be set. Which of two times is later is not asked: a clock may have been set back."""
    return bool(recorded_sha256(path)) and path.stat().st_ctime_ns == _record(path).stat().st_mtime_ns


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
