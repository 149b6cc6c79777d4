"""Images in columns of .parquet files, as the Hugging Face hub stores them; needs the extra leakbench[parquet].

Choices of ours: the column of images is the first that holds both `bytes` and `path` (the hub's own kind), else the one
named `image`, else the first of binary values; of the former, `bytes` alone are read, and no path is followed. A column
`label` or `labels` of whole numbers from 0 in every row is the label, a column `caption` or `text` the caption. An
image is called by its row, in nine digits. Row groups are read when one of their images is asked for, and the last are
kept.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from leakbench.data.image_cache import identify_file
from leakbench.runtime.errors import UsageError

_OLDEST = 15  # major version of pyarrow: the first after one whose files could run code (CVE-2023-47248)
_KEPT = 2**28  # bytes of row groups that are kept, but two groups in any case
_GROUP_BYTES = 2**31  # of one row group, unpacked
_LARGE, _DENSEST = 2**28, 200  # as of a .zip: no images shrink by more


@dataclass
class _File:
    """An open file: its columns, and the row at which each of its row groups ends."""

    path: Path
    opened: Any
    images: str
    label: str
    caption: str
    ends: list[int] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0


class ParquetImages:
    """The images of the files at `paths`, called by their rows; below a `folder`, by the file's name before that."""

    def __init__(self, paths: Sequence[Path], folder: Path | None = None) -> None:
        self.paths, self.folder = paths, folder
        self._lock = Lock()
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._held = 0  # bytes of these

    @cached_property
    def _files(self) -> dict[str, _File]:
        """By what stands before the row in a name."""
        titles = ["" if self.folder is None else f"{p.relative_to(self.folder).as_posix()}/" for p in self.paths]
        return {title: _open(path) for title, path in zip(titles, self.paths, strict=True)}

    @cached_property
    def names(self) -> list[str]:
        return [f"{title}{row:09}" for title, file in self._files.items() for row in range(file.rows)]

    @property
    def identity(self) -> list[Any]:
        return [["parquet", *identify_file(path)] for path in self.paths]

    @property
    def labels(self) -> dict[str, int] | None:
        columns = [_numbers(file) for file in self._files.values()]
        found = [values for values in columns if values is not None]
        if len(found) < len(columns):
            return None
        return dict(zip(self.names, np.concatenate(found).tolist(), strict=True))

    def read(self, name: str) -> bytes:
        value = self._cell(name, "images")
        value = value["bytes"] if isinstance(value, dict) else value
        return b"" if value is None else bytes(value)

    def open(self, name: str) -> IO[bytes]:
        return io.BytesIO(self.read(name))

    def caption(self, name: str) -> bytes | None:
        title, _, _ = _parts(name)
        if not self._files[title].caption:
            return None
        try:
            text = self._cell(name, "caption")
        except _faults() as error:
            raise _unreadable(self._files[title].path, error) from None
        return None if text is None else str(text).encode()

    def _cell(self, name: str, kind: str) -> Any:
        """The value of a row in the column of images, or of captions."""
        title, _, row = _parts(name)
        file = self._files[title]
        group = bisect_right(file.ends, int(row))
        column = self._column(title, group, getattr(file, kind))
        return column[int(row) - (file.ends[group - 1] if group else 0)].as_py()

    def _column(self, title: str, group: int, column: str) -> Any:
        key = (f"{title}:{column}", group)
        with self._lock:
            if key not in self._groups:
                table = self._files[title].opened.read_row_group(group, [column], use_threads=False)
                self._groups[key] = table.column(0)
                self._held += table.nbytes
            self._groups.move_to_end(key)
            while len(self._groups) > 2 and self._held > _KEPT:
                self._held -= self._groups.popitem(last=False)[1].nbytes
            return self._groups[key]


def _parts(name: str) -> tuple[str, str, str]:
    """What stands before the row in a name, with the slash; the slash; and the row."""
    title, slash, row = name.rpartition("/")
    return title + slash, slash, row


def _faults() -> tuple[type[Exception], ...]:
    import pyarrow

    return (pyarrow.ArrowException, OSError, ValueError, TypeError, LookupError, MemoryError, NotImplementedError)


def _unreadable(path: Path, error: Exception) -> UsageError:
    words = " ".join(str(error).split())[:120] or type(error).__name__
    return UsageError(f"{path}: cannot be read as a .parquet file ({''.join(c for c in words if c.isprintable())})")


def _open(path: Path) -> _File:
    """A file by its metadata alone. Raises UsageError."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError(f"{path}: needs pyarrow: pip install 'leakbench[parquet]'") from None
    if int(pyarrow.__version__.partition(".")[0]) < _OLDEST:
        raise UsageError(f"{path}: pyarrow {pyarrow.__version__} is too old: pip install 'leakbench[parquet]'")
    try:
        opened = ParquetFile(path)
        schema = opened.schema_arrow
        columns = {field.name: field.type for field in schema}
        # Of whole row groups: to ask one for its columns ends the process where a footer is damaged (pyarrow 26).
        groups = [opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups)]
        rows, sizes = [group.num_rows for group in groups], [group.total_byte_size for group in groups]
    except _faults() as error:
        raise _unreadable(path, error) from None
    shown = ", ".join(columns)[:200]
    if not shown.isprintable() or len(columns) < len(schema):
        raise UsageError(f"{path}: names of its columns do not print, or stand there twice")
    types = pyarrow.types
    label = [key for key in ("label", "labels") if key in columns and types.is_integer(columns[key])]
    caption = [key for key in ("caption", "text") if key in columns and _is_text(types, columns[key])]
    file = _File(path, opened, _image_column(path, types, columns), (*label, "")[0], (*caption, "")[0])
    if min(rows, default=0) < 0 or sum(rows) > path.stat().st_size:
        raise UsageError(f"{path}: states {sum(rows):,} rows, more than its bytes: no file of images")
    _check_sizes(path, sizes)
    file.ends = list(accumulate(rows))
    return file


def _image_column(path: Path, types: Any, columns: dict[str, Any]) -> str:
    """The column of images, as pyarrow is asked for it."""

    def is_binary(kind: Any) -> bool:
        return kind is not None and bool(types.is_binary(kind) or types.is_large_binary(kind))

    def fields(kind: Any) -> dict[str, Any]:
        return {field.name: field.type for field in kind} if types.is_struct(kind) else {}

    of_hub = [key for key, kind in columns.items() if "path" in fields(kind) and is_binary(fields(kind).get("bytes"))]
    if of_hub:
        return f"{of_hub[0]}.bytes"
    plain = sorted((key for key, kind in columns.items() if is_binary(kind)), key=lambda key: key != "image")
    if not plain:
        raise UsageError(f"{path}: has no column of images (columns: {', '.join(columns)[:200]})")
    return plain[0]


def _is_text(types: Any, kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _check_sizes(path: Path, sizes: Sequence[int]) -> None:
    """Raise UsageError where row groups unpack to more bytes than are read at once, or to more than real data do."""
    largest, total, packed = max(sizes, default=0), sum(sizes), path.stat().st_size
    if largest > _GROUP_BYTES:
        raise UsageError(
            f"{path}: a row group unpacks to {largest >> 20} MiB, more than {_GROUP_BYTES >> 20}: write it in smaller "
            "row groups"
        )
    if total > _LARGE and total > _DENSEST * packed:
        raise UsageError(f"{path}: {packed:,} bytes that unpack to {total:,}, as in a bomb: refused")


def _numbers(file: _File) -> np.ndarray | None:
    """int64 (rows,) of the label column; None where there is none, or one row holds no whole number from 0 up."""
    if not file.label:
        return None
    try:
        column = file.opened.read([file.label], use_threads=False).column(0)
        values = column.to_numpy() if not column.null_count else None
    except _faults() as error:
        raise _unreadable(file.path, error) from None
    if values is None or len(values) != file.rows or (len(values) and (values.min() < 0 or values.max() > 10**9)):
        return None
    return np.asarray(values, dtype=np.int64)
