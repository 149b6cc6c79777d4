"""Whose the images of members and nonmembers are, numbered together: one person has one number on both sides.

It is said by the data sets themselves, by a table of groups for both sides, or by the captions file: by one of these.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from leakbench.data.caption_file import read
from leakbench.data.caption_labels import read_caption_groups
from leakbench.data.dataset import Dataset
from leakbench.data.folder_name import FolderName
from leakbench.data.group_names import name_groups, number_names
from leakbench.data.image_files import ImageFiles
from leakbench.data.rows_of_files import Folders
from leakbench.data.tables import read_group_table
from leakbench.runtime.errors import UsageError, to_printable

Pair = tuple[Dataset, Dataset]  # of members, of nonmembers


def number_sides_together(names: list[str], sides: Pair, groups: str = "", captions: str = "") -> Pair:
    """The data sets of these names with the groups that are said anywhere. groups, captions: paths of a table of groups
    and of a captions file, or "". Raises UsageError."""
    said = {"their labels.csv, names or arrays": _own(names, sides)}
    said |= {
        f"--groups {groups}": _in_table(names, sides, groups),
        "the captions file": _in_captions(names, sides, captions),
    }
    found = {where: both for where, both in said.items() if both is not None}
    if len(found) > 1:
        raise UsageError(f"{' and '.join(found)} all say whose each image is: leave out all but one")
    for where, both in found.items():
        if len(everybody := {*both[0], *both[1]}) == 1:
            raise UsageError(
                f"{where}: all images of both sides are of one group ({to_printable(everybody.pop())}): a pattern has "
                "what tells people apart in brackets, as '^([0-9]+)'; where all are one person's, say no groups"
            )
    return _numbered(sides, next(iter(found.values()), None))


def list_files(names: list[str], sides: Pair) -> Folders:
    """The folder of each side and the files of its images, in order. Both are folders."""
    given = [FolderName.parse(name.partition(":")[2]).path for name in names]
    return [
        (path, [file for file in ImageFiles(path).names if file not in data.skipped])
        for path, data in zip(given, sides, strict=True)
    ]


def _own(names: list[str], sides: Pair) -> list[list[str]] | None:
    """What the data sets say."""
    told = [data.group is not None for data in sides]
    if told[0] != told[1]:
        with_it, without = (data.name for data in (sides if told[0] else sides[::-1]))
        raise UsageError(
            f"{with_it} says whose each image is, and {without} does not: say it of both sides, or of neither: "
            "labels.csv (columns file, group), an array `group`, --groups FILE.csv or --group-by PATTERN"
        )
    return [name_groups(data.group, data.group_names) for data in sides if data.group is not None] or None


def _in_table(names: list[str], sides: Pair, groups: str) -> list[list[str]] | None:
    if not groups:
        return None
    for name, data in zip(names, sides, strict=True):
        if not name.startswith("folder:"):
            raise UsageError(f"--groups {groups}: {data.name} is no folder: it goes by the names of files")
    return read_group_table(Path(groups), list_files(names, sides))


def _in_captions(names: list[str], sides: Pair, captions: str) -> list[list[str]] | None:
    if not captions or read(Path(captions)).groups is None or not all(name.startswith("folder:") for name in names):
        return None
    return read_caption_groups(Path(captions), list_files(names, sides))


def _numbered(sides: Pair, named: list[list[str]] | None) -> Pair:
    if named is None:
        return sides
    numbers, known = number_names([name for side in named for name in side])
    first, second = numbers[: len(named[0])], numbers[len(named[0]) :]
    return replace(sides[0], group=first, group_names=known), replace(sides[1], group=second, group_names=known)
