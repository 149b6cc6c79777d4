"""`leakbench show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leakbench.cli.app import app
from leakbench.runtime.errors import UsageError, escape_controls


@app.command(
    help="""Print one record: what was measured, why if it was not, and its metrics with intervals.

    The parts of its cache key are left out; `leakbench why` reads those.

    \b
    Example:
      leakbench show runs/quick/records/baseline__pia__DENOISER__seed0.json
    """,
)
def show(record: Annotated[Path, typer.Argument(help="A file under DIR/records.")]) -> None:
    from rich.console import Console

    from leakbench.results.record_files import read_record

    if not record.is_file():
        raise UsageError(f"{record}: no such file; records are the .json files under DIR/records")
    for table in _tables(read_record(record)):
        Console(markup=False, emoji=False).print(table)


def _tables(record: Any) -> list[Any]:
    """Tables for the terminal: what identifies the record, the reason of a skip on top, and its metrics if any."""
    from rich.table import Table
    from rich.text import Text

    shown: dict[str, Any] = record.model_dump()
    shown["skipped"] = shown["info"].pop("skipped", "")
    shown["run"] = {name: value for name, value in shown["run"].items() if value and name not in ("key", "trainings")}
    head = Table(show_header=False, box=None, pad_edge=False)
    for key in (
        "skipped",
        "suite",
        "dataset",
        "model",
        "point",
        "defense_params",
        "attack",
        "attack_params",
        "features",
        "access",
        "seed",
        "queries",
        "realised_fpr",
        "flags",
        "guarantee",
        "info",
        "run",
    ):
        if shown[key] not in ("", {}, []):
            head.add_row(key, Text(escape_controls(str(shown[key]))))
    if not record.metrics:
        return [head]
    body = Table(box=None, pad_edge=False)
    for heading in ("metric", "value", "95 % interval", "n"):
        body.add_column(heading)
    for m in record.metrics:
        interval = "" if m.ci_low is None or m.ci_high is None else f"[{m.ci_low:.4g}, {m.ci_high:.4g}]"
        body.add_row(m.name, "n/a" if m.value is None else f"{m.value:.4g}", interval, str(m.n))
    return [head, body]
