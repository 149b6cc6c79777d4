"""labels.csv: labels and other facts about the image files of a folder.

Columns: `file` (relative to the folder, with '/'), and any of `label`, `attribute` (whole numbers from 0 up), `group`
(the number or the name of a person or scene) and `split` (a part's name, or pool). It has one row for every image file,
in any order. Other columns are ignored. A table of groups has `file` and `group`, and may speak of other files as well.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from leakbench.data.dataset import PARTS
from leakbench.data.group_names import NumberedGroups, check_names, number_names
from leakbench.data.rows_of_files import Folders, find_rows, number_rows
from leakbench.runtime.errors import UsageError, nearest_name, to_printable

_COLUMNS = ("label", "attribute", "group", "split")


@dataclass(frozen=True)
class Table:
    """What labels.csv says of the images of a folder, in their order.

    columns: int64 (N,) `label`, `attribute`, `group` and words (N,) of `split`, as far as it has them. remarks: which
    columns were ignored, in words. group_names: as in a Dataset.
    """

    columns: dict[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    group_names: tuple[str, ...] | None = None

    def with_groups(self, groups: NumberedGroups) -> Table:
        """The same with other groups."""
        return replace(self, columns=self.columns | {"group": groups.numbers}, group_names=groups.names)


def find_table(folder: Path) -> Path | None:
    """labels.csv in a folder (beside a .zip), or beside the folder."""
    places = (folder / "labels.csv", folder.parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)


def read_table(path: Path, names: list[str]) -> Table:
    """What a table says of the files of these names, in their order. Raises UsageError."""
    header, rows = _read_text(path)
    if "file" not in header:
        others = [column for column in header if column not in _COLUMNS]
        hint = f" (its columns are {', '.join(header)})" if others else ""
        raise UsageError(f"{path}: column 'file' is missing{hint}; it names the image that a row speaks of")
    by_file = _order_by_file(path, header.index("file"), rows, names)
    cells = {column: [row[place].strip() for row in by_file] for place, column in enumerate(header)}
    columns = {
        column: _check_values(path, column, names, values)
        for column, values in cells.items()
        if column in _COLUMNS and column != "group"
    }
    ignored = [_unknown(column) for column in header if column not in ("file", *_COLUMNS)]
    said = (f"{path.parent.name}/{path.name}: columns ignored: {to_printable(', '.join(ignored))}",) if ignored else ()
    table = Table(columns, said)
    if "group" not in cells:
        return table
    check_names(str(path), names, cells["group"])
    return table.with_groups(number_names(cells["group"]))


def read_group_table(path: Path, folders: Folders) -> list[list[str]]:
    """Whose every image is, for each folder, by a table with the columns `file` and `group`. Raises UsageError."""
    where = f"groups {path}"
    header, rows = _read_text(path)
    if missing := [column for column in ("file", "group") if column not in header]:
        raise UsageError(f"{where}: column {missing[0]!r} is missing; write the columns file,group")
    file, group = (header.index(column) for column in ("file", "group"))
    found = find_rows(where, "group", number_rows(where, "group", [row[file] for row in rows]), folders)
    named = [[rows[place][group].strip() for place in places] for places in found]
    for (_, names), groups in zip(folders, named, strict=True):
        check_names(where, names, groups)
    return named


def _unknown(column: str) -> str:
    """A column's name, and the known one that may have been meant."""
    hint = nearest_name(column, _COLUMNS)
    return f"{column} ({hint})" if hint.startswith("did you mean") else column


def _read_text(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header, and the rows with as many cells; cells that are missing at the end are empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, str(error)) from None
    if len(set(header)) < len(header):
        raise _unreadable(path, "a column stands there twice")
    for number, row in enumerate(rows, 1):
        if len(row) > len(header):
            raise _unreadable(path, f"row {number} has {len(row)} cells, and there are {len(header)} columns")
        row += [""] * (len(header) - len(row))
    return header, rows


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(f"{path}: cannot be read ({why}); it should be a CSV file in UTF-8")


def _order_by_file(path: Path, place: int, rows: list[list[str]], names: list[str]) -> list[list[str]]:
    """Every image's row, in the order of `names`."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row[place] in found:
            raise UsageError(f"{path}: {row[place]!r} stands there twice; give each image one row")
        found[row[place]] = row
    known = set(names)
    more = [file for file in found if file not in known]
    if more:
        raise UsageError(f"{path}: {len(more)} rows name files that are not there, such as {more[0]!r}")
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of {len(names)} image files have no row, such as {missing[0]!r}; name every image"
        )
    return [found[name] for name in names]


def _check_values(path: Path, column: str, names: list[str], values: list[str]) -> np.ndarray:
    """A column as an array: int64, or words of `split`. Raises UsageError for what it cannot hold."""
    words = {*PARTS, "pool"}
    for name, value in zip(names, values, strict=True):
        if not (value in words if column == "split" else re.fullmatch(r"[0-9]{1,9}", value)):
            expected = f"one of {', '.join(PARTS)} or pool" if column == "split" else "a whole number from 0 up"
            raise UsageError(f"{path}: {name}: {column} = {value!r}: it should be {expected}")
    return np.array(values) if column == "split" else np.array(values, dtype=np.int64)
