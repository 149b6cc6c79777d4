"""Writes history.json, failures.json and the reports of a run folder."""

from __future__ import annotations

import json
from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.runtime import registry
from leakbench.runtime.files import write_atomically
from leakbench.runtime.progress import progress

FORMATS = ("csv", "drawings", "md")


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
    """True if report.md, which is written after all else, is younger than the plan and every record."""
    of_the_run = [out / "plan.json", *(out / "records").glob("*.json")]
    report = out / "report.md"
    return report.is_file() and report.stat().st_mtime >= max(path.stat().st_mtime for path in of_the_run)


def write_reports(out: Path) -> None:
    """Write tables, figures and report.md."""
    for name in FORMATS:
        with progress(f"writing reports into {out}: {name}"):
            registry.find("reports", name)(RunFolder(out))
