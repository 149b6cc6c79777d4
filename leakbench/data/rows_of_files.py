"""Rows of a table of the user's that speaks of the image files of two folders, or of one.

A file is named by its path below its DIR, with '/', or, where both DIRs hold one of that name, by the name of its DIR
before that (members/a.png), and by as many of the folders above it as tell the two DIRs apart (train/images/a.png).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from leakbench.runtime.errors import UsageError

Folders = list[tuple[Path, list[str]]]  # of each side: the folder, and the names of its images below it


def number_rows(where: str, what: str, files: Sequence[str]) -> dict[str, int]:
    """The row of every file. Raises UsageError for one that has two."""
    found: dict[str, int] = {}
    for number, file in enumerate(files):
        if file in found:
            raise UsageError(f"{where}: {file!r} stands there twice; give each image one {what}")
        found[file] = number
    return found


def find_rows(where: str, what: str, rows: Mapping[str, int], folders: Folders) -> list[list[int]]:
    """The row of every image, for each folder. Raises UsageError that begins with `where`, for an image without one and
    for a name that could be either of two."""
    twice = set.intersection(*(set(names) for _, names in folders)) if len(folders) > 1 else set()
    found: list[list[int]] = []
    taken: dict[str, tuple[Path, str]] = {}
    for (folder, names), title in zip(folders, name_folders(folders), strict=True):
        found.append([])
        for name in names:
            image, full = folder / name, f"{title}/{name}"
            key = full if full in rows or name in twice else name
            if key not in rows:
                hint = f" (both folders hold {name}: write {full})" if name in twice else ""
                raise UsageError(f"{where}: {what} missing for {image}{hint}")
            if key in taken:
                other, its = taken[key]
                raise UsageError(f"{where}: {key!r} could be {other} or {image}: write {its} and {full}")
            taken[key] = (image, full)
            found[-1].append(rows[key])
    return found


def name_folders(folders: Folders) -> list[str]:
    """Names of the folders in a table: their own, with as many of those above as tell them apart."""
    parts = [Path(os.path.abspath(folder)).parts[1:] for folder, _ in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(names[-depth:]) for names in parts]
        if len(set(found)) == len(found):
            return found
    raise UsageError(f"{folders[0][0]}: given for members and for nonmembers: give each its own folder")
