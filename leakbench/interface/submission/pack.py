"""`leakbench.submit`: packs a run into one file.

What is packed: plan.json, the records, and of their arrays those in packed_arrays.py. Pictures, tables, figures, pages
and the lists of near-duplicates and of overlapping images stay behind.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from leakbench.interface.options import PathName
from leakbench.interface.submission.manifest import MANIFEST, build_manifest, format_manifest
from leakbench.interface.submission.packed_arrays import holds_own_images, pack_arrays, select_arrays
from leakbench.results.record import Record
from leakbench.results.record_files import find_arrays, format_record
from leakbench.results.run_digest import PLAN
from leakbench.results.run_folder import RunFolder, open_run
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically
from leakbench.runtime.paths import user_path


def submit(folder: PathName, out: PathName | None = None) -> Path:
    """Pack a finished run into one zip file, to submit it to a leaderboard; the same run gives the same bytes.

    - folder: the folder of the run. Nothing in it is changed.
    - out: the file to write; None for RUN.zip beside the folder.

    Returns the file. docs/submit.md says what it reveals of members. Raises UsageError for a folder that holds no run,
    or a run without records.
    """
    run = open_run(user_path(folder))
    path = run.path.with_name(f"{run.path.resolve().name}.zip") if out is None else user_path(out)
    if not run.records:
        raise UsageError(f"{run.path}: has no records; `{run.plan.command_line or 'leakbench run'}` makes them")
    files = _packed_files(run)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = build_manifest(hashes, run.plan.suite, run.plan.identity)
    write_atomically(path, pack_files(files | {MANIFEST: format_manifest(manifest)}))
    return path


def pack_files(files: Mapping[str, bytes]) -> bytes:
    """The bytes of a zip file of these files, uncompressed, sorted and without dates: they follow from theirs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name])
    return packed.getvalue()


def _packed_files(run: RunFolder) -> dict[str, bytes]:
    """The files of a packed run but its manifest, by name."""
    own_images = holds_own_images(run.plan.dataset)
    found = {PLAN: (run.path / PLAN).read_bytes()}
    for record in run.records:
        arrays = select_arrays(record.family, _whole_arrays(run, record), own_images)
        data = pack_arrays(arrays) if arrays else b""
        packed = record.model_copy(update={"arrays": hashlib.sha256(data).hexdigest() if data else ""})
        found[f"records/{record.stem}.json"] = format_record(packed)
        if data:
            found[f"arrays/{record.stem}.npz"] = data
    return found


def _whole_arrays(run: RunFolder, record: Record) -> dict[str, np.ndarray]:
    """The arrays of a record. Raises UsageError where they are missing or damaged."""
    path = find_arrays(run.path, record)
    if record.arrays and (path is None or hashlib.sha256(path.read_bytes()).hexdigest() != record.arrays):
        raise UsageError(
            f"{run.path}: the arrays of {record.stem} are missing or damaged; the same `leakbench run` command makes "
            "them again"
        )
    return run.arrays(record)
