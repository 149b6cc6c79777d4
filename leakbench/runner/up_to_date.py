"""Decides which records of a run folder are up to date, and which are left over from other inputs.

A record is up to date when its file can be read, its inputs are those that would make it now (the key of release,
attack, code and weights), its arrays match their hash, and all of its scores were numbers.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.results.record import Record
from leakbench.results.record_files import read_record
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

SUPERSEDED = "superseded"
Identity = tuple[str, str, str, int]  # point, attack, access, seed


def identify(audit: ReleaseAudit, spec: RecordSpec) -> Identity:
    """The identity of a record within its run."""
    return (audit.context.point.label, spec.name, spec.access.name, audit.context.seed)


class FinishedRecords:
    """The records of a run folder, as they were when first asked for."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._found = self._list_files()

    def has_changed(self) -> bool:
        """True if another process has written plan or records since these were looked at."""
        return self._list_files() != self._found

    def _list_files(self) -> dict[Path, tuple[int, int, int]]:
        """The files of plan and records, with what tells one from a later one of its name."""
        found = {}
        for path in [self.out / "plan.json", *(self.out / "records").glob("*.json")]:
            with suppress(OSError):
                about = path.stat()
                found[path] = about.st_ino, about.st_size, about.st_mtime_ns
        return found

    @property
    def by_identity(self) -> dict[Identity, tuple[Path, Record]]:
        """All records that can be read, with their files."""
        return self._read[0]

    @property
    def damaged(self) -> list[Path]:
        """The files that hold no record. They are named on stderr."""
        return self._read[1]

    @cached_property
    def cells(self) -> set[tuple[str, str, int]]:
        """Point, attack and seed of all records that can be read."""
        return {(point, attack, seed) for point, attack, _, seed in self.by_identity}

    @cached_property
    def _read(self) -> tuple[dict[Identity, tuple[Path, Record]], list[Path]]:
        found: dict[Identity, tuple[Path, Record]] = {}
        damaged = []
        for path in (self.out / "records").glob("*.json"):
            try:
                record = read_record(path)
            except UsageError:
                print(f"leakbench: damaged record {path}; making it again", file=sys.stderr)
                damaged.append(path)
                continue
            found[record.point, record.attack, record.access, record.seed] = path, record
        return found, damaged

    def is_up_to_date(self, audit: ReleaseAudit, spec: RecordSpec) -> bool:
        """True if the record exists, with these inputs and undamaged arrays."""
        if (found := self.by_identity.get(identify(audit, spec))) is None:
            return False
        path, record = found
        return (
            record.inputs == audit.row_key(spec)
            and "non-finite" not in record.flags  # a failed cell is tried again, and fails again
            and self._has_its_arrays(path, record)
        )

    def _has_its_arrays(self, of_record: Path, record: Record) -> bool:
        if not record.arrays:
            return True
        path = self._arrays_of(of_record)
        whole = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == record.arrays
        if not whole:
            print(f"leakbench: damaged or missing arrays {path}; making them again", file=sys.stderr)
        return whole

    def list_stale(self, inputs: Mapping[Identity, str], remade: set[Identity]) -> list[Path]:
        """The files of records that the plan does not have (`inputs`: the key of each that it has), and of those that
        are about to be made again from other inputs, or under another name: if that fails, no old number stands in
        their place."""
        return [
            path
            for identity, (path, record) in self.by_identity.items()
            if identity not in inputs
            or (identity in remade and (record.inputs != inputs[identity] or path.stem != record.stem))
        ]

    def set_aside(self, paths: list[Path]) -> None:
        """Move the files of records, and their arrays, into superseded/, which keeps the last of each name."""
        for path in [*paths, *map(self._arrays_of, paths)]:
            if path.is_file():
                place = self.out / SUPERSEDED / path.parent.name / path.name
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)

    def copy_plan(self) -> None:
        """Keep the plan of a run that is replaced beside its records in superseded/."""
        if (path := self.out / "plan.json").is_file():
            write_atomically(self.out / SUPERSEDED / path.name, path.read_bytes())

    def _arrays_of(self, path: Path) -> Path:
        return self.out / "arrays" / f"{path.stem}.npz"
