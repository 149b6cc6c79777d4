"""Read the captions file of a text-conditional model; the data set and the model read it alike.

A caption's number is its row, from 0. Two kinds of file, in UTF-8, with or without a byte order mark: a .txt of one
caption a line, and a .csv with the column `caption` and perhaps `file` and `group`. Choices of ours: case does not
matter in a suffix; a file whose header names both columns is such a table whatever it is called; what could be read
either way is refused, because every number would be off by one. A line ends at a newline (or a return and a newline)
and nowhere else: captions from the web hold other separators (U+2028, U+0085, form feed), which belong to the
caption.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class Captions:
    """Captions in the order of their numbers, and the file that each belongs to, and the group (person, scene) of that
    image, where the table says so."""

    texts: tuple[str, ...]
    files: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None


def read(path: Path) -> Captions:
    """The captions of a file, at least one. Raises UsageError in one line that names the file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"captions {path}: cannot be read ({error}); it should be text in UTF-8") from None
    found = _table(path, text) if _is_table(path, text) else Captions(tuple(_lines(text)))
    if not found.texts:
        raise UsageError(f"captions {path}: empty; write one caption a line")
    return found


def _is_table(path: Path, text: str) -> bool:
    header, suffix = _header(text), path.suffix.lower()
    if suffix == ".csv" or {"file", "caption"} <= header:
        return True
    if suffix != ".txt":
        raise UsageError(
            f"captions {path}: neither a .txt of one caption a line nor a .csv with a column `caption`: name it so"
        )
    if "caption" in header:
        raise UsageError(f"captions {path}: its first line looks like the header of a table: name it .csv if it is one")
    return False


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _header(text: str) -> set[str]:
    """The cells of the first line, as far as it is one of a table."""
    try:
        return {cell for row in csv.reader(_lines(text.partition("\n")[0])) for cell in row}
    except csv.Error:
        return set()


def _table(path: Path, text: str) -> Captions:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline="\n"), strict=True) if row]
    except csv.Error as error:
        raise UsageError(f"captions {path}: cannot be read ({error}); it should be a CSV file") from None
    columns, *rows = rows or [["caption"]]
    if "caption" not in columns:
        raise UsageError(f"captions {path}: no column `caption`; its columns are {', '.join(columns)}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            raise UsageError(
                f"captions {path}: row {number} has {len(row)} cells, and there are {len(columns)} columns: put a "
                "caption that holds a comma in quotes"
            )
    told = (tuple(row[columns.index(one)] for row in rows) if one in columns else None for one in _COLUMNS)
    texts, files, groups = told
    return Captions(texts or (), files, groups)


_COLUMNS = ("caption", "file", "group")
