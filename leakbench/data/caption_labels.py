"""Captions of image files, and their numbers as labels of a text-conditional model.

Two ways to say it: a CSV with the columns `file` and `caption`, or a .txt file beside every image (a.png, a.txt), whose
text is its caption; a .zip or a shard holds it likewise. Either is turned into a table of its own in the cache, which
both the data set and the model read. A file is named by its path below its DIR, with '/', or, where both DIRs hold one
of that name, by the name of its DIR before that (members/a.png), and by as many of the folders above it as tell the two
DIRs apart (train/images/a.png).

A label is the number of a caption's row: what a model that takes captions is given, and what attacks see. It must not
tell members from nonmembers, so (a choice of ours) rows stand in the order of their captions' text, and equal captions
have one number. A table in another order is refused.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from leakbench.data.caption_file import Captions, read
from leakbench.data.image_files import ImageFiles
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

SIDECARS = "txt"  # of the option: a .txt file beside every image

Folders = list[tuple[Path, list[str]]]  # of each side: the folder, and the names of its images below it


def collect_sidecars(folders: Folders) -> Path:
    """The table, in the cache, of the .txt files beside the images. Raises UsageError."""
    rows = []
    for (folder, names), title in zip(folders, _titles(folders), strict=True):
        images = ImageFiles(folder)
        for name in names:
            beside = (folder / name).with_suffix(".txt")
            try:
                found = images.caption(name)
                text = None if found is None else found.decode("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{beside}: cannot be read ({error}); it should be text in UTF-8") from None
            if text is None:
                raise UsageError(f"{folder / name}: caption missing: no {beside.name} beside it")
            rows.append((f"{title}/{name}", " ".join(text.split())))
    return _kept(rows)


def arrange_captions(path: Path, folders: Folders) -> Path:
    """The table, in the cache, of what a user's CSV says of the images. Raises UsageError."""
    captions = read(path)
    found: list[tuple[str, str]] = []
    numbers = _numbers(path, captions, folders)
    for (_, names), title, rows in zip(folders, _titles(folders), numbers, strict=True):
        found += [(f"{title}/{name}", captions.texts[row]) for name, row in zip(names, rows, strict=True)]
    return _kept(found)


def number_captions(path: Path, folders: Folders) -> list[np.ndarray]:
    """The number of every image's caption, int64, for each folder: the first row that holds this caption in a table of
    `arrange_captions`. Raises UsageError, also where an image has none."""
    captions = read(path)
    numbers = _numbers(path, captions, folders)
    if list(captions.texts) != sorted(captions.texts):
        raise UsageError(
            f"captions {path}: its rows are not in the order of their captions, so that their numbers could tell "
            "members from nonmembers: sort them by caption"
        )
    first = {text: row for row, text in reversed(list(enumerate(captions.texts)))}
    return [np.array([first[captions.texts[row]] for row in rows], dtype=np.int64) for rows in numbers]


def _kept(rows: list[tuple[str, str]]) -> Path:
    """The file of (image, caption) rows in the cache, sorted by caption."""
    by_caption = sorted(rows, key=lambda row: (row[1], row[0]))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["file", "caption"])
    table.writerows(by_caption)
    path = cache_root() / "captions" / f"{compute_key(text=text.getvalue())}.csv"
    try:
        write_atomically(path, text.getvalue().encode("utf-8"))
    except UnicodeEncodeError:
        name = next(name for name, _ in rows if name != name.encode("utf-8", "replace").decode("utf-8"))
        raise UsageError(f"{name!r}: this file's name is not UTF-8: rename it") from None
    return path


def _numbers(path: Path, captions: Captions, folders: Folders) -> list[list[int]]:
    """The row of every image, for each folder."""
    rows = _rows(path, captions)
    twice = set.intersection(*(set(names) for _, names in folders))
    found: list[list[int]] = []
    taken: dict[str, tuple[Path, str]] = {}
    for (folder, names), title in zip(folders, _titles(folders), strict=True):
        found.append([])
        for name in names:
            image, full = folder / name, f"{title}/{name}"
            key = full if full in rows or name in twice else name
            if key not in rows:
                hint = f" (both folders hold {name}: write {full})" if name in twice else ""
                raise UsageError(f"captions {path}: caption missing for {image}{hint}")
            if key in taken:
                other, its = taken[key]
                raise UsageError(f"captions {path}: {key!r} could be {other} or {image}: write {its} and {full}")
            taken[key] = (image, full)
            found[-1].append(rows[key])
    return found


def _rows(path: Path, captions: Captions) -> dict[str, int]:
    """The row of every file."""
    if captions.files is None:
        raise UsageError(f"captions {path}: column 'file' is missing; write the columns file,caption")
    found: dict[str, int] = {}
    for number, file in enumerate(captions.files):
        if file in found:
            raise UsageError(f"captions {path}: {file!r} stands there twice; give each image one caption")
        found[file] = number
    return found


def _titles(folders: Folders) -> list[str]:
    """Names of the folders in a table: their own, with as many of those above as tell them apart."""
    parts = [Path(os.path.abspath(folder)).parts[1:] for folder, _ in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(names[-depth:]) for names in parts]
        if len(set(found)) == len(found):
            return found
    raise UsageError(f"{folders[0][0]}: given for members and for nonmembers: give each its own folder")
