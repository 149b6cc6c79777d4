"""labels.csv: labels and other facts about the image files of a folder.

Columns: `file` (relative to the folder, with '/'), and any of `label`, `attribute`, `group` (whole numbers from 0 up)
and `split` (a part's name, or pool). It has one row for every image file, in any order.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leakbench.data.dataset import PARTS
from leakbench.runtime.errors import UsageError, nearest_name

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("file", "label", "attribute", "group", "split")


def find_table(folder: Path) -> Path | None:
    """labels.csv in a folder (beside a .zip), or beside the folder."""
    places = (folder / "labels.csv", folder.parent / "labels.csv")
    return next((place for place in places if place.is_file()), None)


def read_table(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """The columns of whole numbers and `split`, where they are there, in the order of `names`. Raises UsageError."""
    table = _read_text(path)
    for column in table.columns:
        if column not in _COLUMNS:
            raise UsageError(f"{path}: unknown column {column!r}; {nearest_name(column, _COLUMNS)}")
    if "file" not in table.columns:
        raise UsageError(f"{path}: column 'file' is missing; it names the image that a row speaks of")
    rows = _order_by_file(path, table.set_index("file"), names)
    return {str(column): _check_values(path, rows[column].str.strip()) for column in rows.columns}


def _read_text(path: Path) -> pd.DataFrame:
    """All cells as text; a missing one is empty."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row with more cells than there are columns
            return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        words = str(error).strip().replace("\n", " ")
        raise UsageError(f"{path}: cannot be read ({words}); it should be a CSV file in UTF-8") from None


def _order_by_file(path: Path, rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Every image's row, in the order of `names`."""
    twice = rows.index[rows.index.duplicated()]
    if len(twice):
        raise UsageError(f"{path}: {twice[0]!r} stands there twice; give each image one row")
    more = rows.index.difference(names, sort=False)
    if len(more):
        raise UsageError(f"{path}: {len(more)} rows name files that are not there, such as {more[0]!r}")
    known = set(rows.index)
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} of {len(names)} image files have no row, such as {missing[0]!r}; name every image"
        )
    return rows.loc[names]


def _check_values(path: Path, values: pd.Series) -> np.ndarray:
    """A column as an array: int64, or text of `split`. Raises UsageError for what it cannot hold."""
    if values.name == "split":
        good, expected = values.isin([*PARTS, "pool"]), f"one of {', '.join(PARTS)} or pool"
    else:
        good, expected = values.str.fullmatch(r"[0-9]{1,9}"), "a whole number from 0 up"
    if not good.all():
        file, value = values[~good].index[0], values[~good].iloc[0]
        raise UsageError(f"{path}: {file}: {values.name} = {value!r}: it should be {expected}")
    return np.array(values.tolist()) if values.name == "split" else values.astype(np.int64).to_numpy()
