"""The digest by which a run is known: of its plan, its records and their arrays, byte by byte.

Tables, figures and pages are made of these and do not count. A packed run has the digest of the folder that it unpacks
to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

PLAN = "plan.json"


def list_run_files(folder: Path) -> list[str]:
    """The files of a run that count, relative to its folder and with "/", sorted."""
    found = [*(folder / "records").glob("*.json"), *(folder / "arrays").glob("*.npz")]
    names = [path.relative_to(folder).as_posix() for path in found if path.is_file()]
    return sorted([*names, *([PLAN] if (folder / PLAN).is_file() else [])])


def hash_file(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hash_run_files(folder: Path) -> dict[str, str]:
    """sha256 of each file that counts, by its name."""
    return {name: hash_file(folder / name) for name in list_run_files(folder)}


def digest_hashes(hashes: Mapping[str, str]) -> str:
    """The digest of a run whose files have these sha256: that of the lines `HASH  NAME`, as sha256sum prints them."""
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def digest_run(folder: Path) -> str:
    """The digest of the run in a folder."""
    return digest_hashes(hash_run_files(folder))
