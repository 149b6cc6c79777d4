"""Captions of image files, and their numbers as labels of a text-conditional model.

Two ways to say it: a CSV with the columns `file` and `caption`, or a .txt file beside every image (a.png, a.txt), whose
text is its caption; a .zip or a shard holds it likewise. Either is turned into a table of its own in the cache, which
both the data set and the model read. Files are named as in leakbench.data.rows_of_files. A column `group` of the CSV
says whose each image is.

A label is the number of a caption's row: what a model that takes captions is given, and what attacks see. It must not
tell members from nonmembers, so (a choice of ours) rows stand in the order of their captions' text, and equal captions
have one number. A table in another order is refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leakbench.data.caption_file import Captions, read
from leakbench.data.group_names import check_names
from leakbench.data.image_files import ImageFiles
from leakbench.data.rows_of_files import Folders, find_rows, name_folders, number_rows
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

SIDECARS = "txt"  # of the option: a .txt file beside every image


def collect_sidecars(folders: Folders) -> Path:
    """The table, in the cache, of the .txt files beside the images. Raises UsageError."""
    rows = []
    for (folder, names), title in zip(folders, name_folders(folders), strict=True):
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
    return _kept(("file", "caption"), rows)


def arrange_captions(path: Path, folders: Folders) -> Path:
    """The table, in the cache, of what a user's CSV says of the images. Raises UsageError."""
    captions = read(path)
    found: list[tuple[str, ...]] = []
    told = [captions.texts, *([] if captions.groups is None else [captions.groups])]
    numbers = _numbers(path, captions, folders)
    for (_, names), title, rows in zip(folders, name_folders(folders), numbers, strict=True):
        found += [(f"{title}/{name}", *(one[row] for one in told)) for name, row in zip(names, rows, strict=True)]
    return _kept(("file", "caption", "group")[: 1 + len(told)], found)


def read_caption_groups(path: Path, folders: Folders) -> list[list[str]] | None:
    """Whose every image is, for each folder; None without a column `group`. Raises UsageError."""
    captions = read(path)
    if captions.groups is None:
        return None
    found = [[captions.groups[row].strip() for row in rows] for rows in _numbers(path, captions, folders)]
    for (_, names), groups in zip(folders, found, strict=True):
        check_names(f"captions {path}", names, groups)
    return found


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


def _kept(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Path:
    """The file of (image, caption) rows in the cache, sorted by caption; perhaps with a third column."""
    by_caption = sorted(rows, key=lambda row: (row[1], row[0]))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows(by_caption)
    path = cache_root() / "captions" / f"{compute_key(text=text.getvalue())}.csv"
    try:
        write_atomically(path, text.getvalue().encode("utf-8"))
    except UnicodeEncodeError:
        name = next(name for name, *_ in rows if name != name.encode("utf-8", "replace").decode("utf-8"))
        raise UsageError(f"{name!r}: this file's name is not UTF-8: rename it") from None
    return path


def _numbers(path: Path, captions: Captions, folders: Folders) -> list[list[int]]:
    """The row of every image, for each folder."""
    where = f"captions {path}"
    if captions.files is None:
        raise UsageError(f"{where}: column 'file' is missing; write the columns file,caption")
    return find_rows(where, "caption", number_rows(where, "caption", captions.files), folders)
