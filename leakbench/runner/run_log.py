"""Writes history.json, failures.json and the reports of a run folder."""

from __future__ import annotations

import json
from pathlib import Path

from leakbench.results.run_digest import digest_hashes, hash_file, list_run_files
from leakbench.results.run_folder import RunFolder
from leakbench.runtime import registry
from leakbench.runtime.files import write_atomically
from leakbench.runtime.progress import progress

FORMATS = ("csv", "drawings", "md")
_REPORTED = ".reported"


def append_history(out: Path, command: str, cells: int, workers: int, seconds: float) -> None:
    """Add a row to history.json, if any cell was done: how long a folder took in all is the sum of its commands."""
    if cells:
        row = {"command": command, "seconds": round(seconds, 1), "cells": cells, "workers": workers}
        _write_json(out / "history.json", [*RunFolder(out).history, row])


def write_failures(out: Path, failures: dict[str, str]) -> None:
    """Write failures.json (cell name -> one line), or delete it where nothing failed."""
    if failures:
        _write_json(out / "failures.json", failures)
    else:
        (out / "failures.json").unlink(missing_ok=True)


def _write_json(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def has_current_report(out: Path) -> bool:
    """True if report.md, which is written after all else, shows the plan and records that are there now."""
    noted = out / _REPORTED
    return (out / "report.md").is_file() and noted.is_file() and noted.read_text() == _digest_shown(out)


def write_reports(out: Path) -> None:
    """Write tables, figures and report.md, and note what they show."""
    shown = _digest_shown(out)
    for name in FORMATS:
        with progress(f"writing reports into {out}: {name}"):
            registry.find("reports", name)(RunFolder(out))
    write_atomically(out / _REPORTED, shown.encode())


def _digest_shown(out: Path) -> str:
    """Digest of plan and records, which hold the hashes of their arrays. Times of files do not count: a clock may have
    been set back between them."""
    names = [name for name in list_run_files(out) if name.endswith(".json")]
    return digest_hashes({name: hash_file(out / name) for name in names})
