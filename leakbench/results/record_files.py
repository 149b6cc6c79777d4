"""Reading and writing records: one JSON file a record, one npz file of its raw arrays beside it, no pickle.

A record's file ends in a checksum of its content, and holds the hash of its arrays: a bit that a disk has flipped is
found when they are read. (Whoever edits a file can write a new checksum: it is no proof against a forger.)
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from leakbench.results.migration import migrate
from leakbench.results.record import Record
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

CHECKSUM = "checksum"  # sha256 of a record's content, as JSON with sorted keys


def read_record(path: Path, methods: Mapping[str, str] | None = None) -> Record:
    """Read a record, of this schema or of an older one. Raises UsageError that names the file and its fault.

    methods: the method behind each attack id; used only where an older schema left it to the plan.
    """
    text = path.read_bytes()
    try:
        with suppress(ValueError):  # pydantic says what is wrong with JSON that is none
            content = json.loads(text)
            _check(content)
            text = json.dumps(migrate(content, methods or {})).encode()
        return Record.model_validate_json(text)
    except (ValidationError, _Damaged) as error:
        fault = validation_fault(error) if isinstance(error, ValidationError) else str(error)
        raise UsageError(f"{path}: not a record ({fault}); the same `leakbench run` command makes it again") from None


class _Damaged(Exception):
    """A record's content is not what was written."""


def _check(content: Any) -> None:
    """Take the checksum out of a record's content, and compare; records of older versions have none."""
    if isinstance(content, dict) and CHECKSUM in content:
        found = content.pop(CHECKSUM)
        if found != _checksum(content):
            raise _Damaged("it does not match its checksum: damaged, or edited by hand")


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def validation_fault(error: ValidationError) -> str:
    """The first fault that pydantic found, as `FIELD: FAULT`."""
    first = error.errors(include_url=False)[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


def save_record(folder: Path, record: Record, arrays: dict[str, np.ndarray]) -> Record:
    """Write arrays/STEM.npz, then records/STEM.json that holds its hash. Returns the record with the hash.

    Raises TypeError for arrays of Python objects, which only a pickle could hold.
    """
    import numpy as np

    if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
        raise TypeError(f"array {objects[0]!r} holds Python objects, which would be pickled; save plain numbers")
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        data = buffer.getvalue()
        write_atomically(folder / "arrays" / f"{record.stem}.npz", data)
        record = record.model_copy(update={"arrays": hashlib.sha256(data).hexdigest()})
    write_record(folder / "records" / f"{record.stem}.json", record)
    return record


def check_arrays(path: Path, record: Record) -> None:
    """Raise UsageError where the file of a record's arrays is not the one that was written."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != record.arrays:
        raise UsageError(
            f"{path}: does not match the hash in its record: damaged; the same `leakbench run` command makes it again"
        )


def find_arrays(folder: Path, record: Record) -> Path | None:
    """The file of a record's arrays, also under its name of older versions. None if there is none."""
    path, old = (folder / "arrays" / f"{name}.npz" for name in (record.stem, record.readable_name))
    if not record.arrays or path.is_file():
        return path if record.arrays else None
    # Another record may have had the old name as well: the hash says whose arrays these are.
    return old if old.is_file() and hashlib.sha256(old.read_bytes()).hexdigest() == record.arrays else None


def write_record(path: Path, record: Record) -> None:
    """Write the JSON file of a record."""
    write_atomically(path, format_record(record))


def format_record(record: Record) -> bytes:
    """The bytes of a record's file."""
    content = json.loads(json.dumps(record.model_dump(mode="json")))  # as it will be read: keys are texts
    return (json.dumps({**content, CHECKSUM: _checksum(content)}, indent=1, sort_keys=True) + "\n").encode()
