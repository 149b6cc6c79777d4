"""The numbers that a figure shows, as a CSV file beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from math import isnan
from pathlib import Path

from leakbench.runtime.files import write_atomically
from leakbench.statistics import Summary

Values = dict[str, object]  # a row of the file: by column


def spread(name: str, found: Summary | None) -> Values:
    """Mean and interval of a quantity as columns NAME, NAME_low, NAME_high; empty where there is none."""
    numbers = (found.mean, found.low, found.high) if found else (None, None, None)
    return {f"{name}{end}": number for end, number in zip(("", "_low", "_high"), numbers, strict=True)}


def write_values(path: Path, rows: Iterable[Values]) -> Path:
    """Write rows as CSV. Columns stand in the order in which they come up; floats read back as they are."""
    found = list(rows)
    titles = list(dict.fromkeys(title for row in found for title in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([_plain(row.get(title)) for title in titles] for row in found)
    write_atomically(path, text.getvalue().encode())
    return path


def _plain(value: object) -> object:
    """None as an empty cell, as NaN; a number of numpy's as Python's own, which `csv` writes by its digits."""
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and isnan(plain) else plain
