"""labels.csv: what is known of the image files of a folder.

Columns: `file` (relative to the folder, with '/'), and any of `label`, `attribute`, `group` (whole numbers from 0 up)
and `split` (a part's name, or pool). It has one row for every image file, in any order. Read with the csv module.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from leakbench.data.dataset import PARTS
from leakbench.runtime.errors import UsageError, nearest_name

_COLUMNS = ("file", "label", "attribute", "group", "split")


def find_table(folder: Path) -> Path | None:
    """labels.csv in a folder (beside a .zip), or beside the folder."""
    places = (folder / "labels.csv", folder.parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)


def read_table(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """The columns of whole numbers and `split`, where they are there, in the order of `names`. Raises UsageError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); it should be a CSV file in UTF-8") from None
    for column in columns:
        if column not in _COLUMNS:
            raise UsageError(f"{path}: unknown column {column!r}; {nearest_name(str(column), _COLUMNS)}")
    if "file" not in columns:
        raise UsageError(f"{path}: column 'file' is missing; it names the image that a row speaks of")
    lines = _by_file(path, rows, names)
    return {c: np.array([_value(path, c, lines[n]) for n in names]) for c in columns if c != "file"}


def _by_file(path: Path, rows: list[dict[str, str]], names: list[str]) -> dict[str, dict[str, str]]:
    """Every image's row."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["file"] in found:
            raise UsageError(f"{path}: {row['file']!r} stands there twice; give each image one row")
        found[row["file"]] = row
    known = set(names)
    missing, more = [n for n in names if n not in found], [n for n in found if n not in known]
    if more:
        raise UsageError(f"{path}: {len(more)} rows name files that are not there, such as {more[0]!r}")
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of {len(names)} image files have no row, such as {missing[0]!r}; name every image"
        )
    return found


def _value(path: Path, column: str, row: dict[str, str]) -> int | str:
    value = (row[column] or "").strip()
    if column == "split":
        if value not in (*PARTS, "pool"):
            raise UsageError(
                f"{path}: {row['file']}: split = {value!r}: it should be one of {', '.join(PARTS)} or pool"
            )
        return value
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise UsageError(f"{path}: {row['file']}: {column} = {value!r}: it should be a whole number from 0 up")
    return int(value)
