"""report.md: what was run, what it found, how far that can be believed. The words stand in templates/report.md.j2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.files import write_atomically

from .controls import controls, foremost_controls, invalid
from .entries import ensemble
from .figures import CHARTS, FOLDER
from .findings import effects
from .flags import raised
from .gaps import foremost_gaps, gaps
from .given import given, samples_alone
from .points import points, strongest
from .sections import sections
from .tradeoff import headline, rows, tradeoff_text
from .verdicts import judged, levels_tried, verdict_of_none
from .words import bracket, count, interval, listed, rate_title

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def write_markdown(run: RunFolder) -> list[Path]:
    """Writes report.md into the run's folder. Figures are embedded where they have been drawn."""
    path = run.path / "report.md"
    write_atomically(path, render(run).encode())
    return [path]


def render(run: RunFolder) -> str:
    """The text of report.md."""
    return environment().get_template("report.md.j2").render(facts(run))


def environment() -> Environment:
    """Where templates lie, and the words that they may use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    settings: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    found = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, **settings)
    found.filters |= {"bracket": bracket, "cell": cell, "counted": count, "interval": interval, "listed": listed}
    return found


def facts(run: RunFolder) -> dict[str, Any]:
    """All that the template may speak of."""
    titles, cells = tradeoff_text(run)
    found = rows(run)
    return {
        **_setting(run),
        **sections(run),
        "titles": titles,
        "cells": cells,
        "verdicts": [(row.point.name, judged(run, row.point)) for row in found],
        "without_the_model": verdict_of_none(run),
        "blind_wins": blind_wins(run),
        "strays": sorted({r.point for r in run.records} - {row.point.name for row in found}),
        "unmeasured": [row.point.name for row in found if row.seeds == 0],
        "effects": effects(run),
        "gaps": foremost_gaps(run, gaps(run)),
        "controls": controls(run),
        "shown_controls": foremost_controls(controls(run)),
        "has_control": any(row.point.role == "control" for row in found),
        "invalid": invalid(run),
        "flags": raised(run),
        "drawn": [(c.name, c.caption) for c in CHARTS if _is_drawn(run, c.name)],
        "skipped": [(c.name, c.missing(run)) for c in CHARTS if not _is_drawn(run, c.name)],
        "folder": FOLDER,
        "coincide": coinciding(run),
        "given": given(run),
        "samples_alone": samples_alone(run),
    }


def _setting(run: RunFolder) -> dict[str, Any]:
    seeds = run.plan.seeds or sorted({r.seed for r in run.records})
    return {
        "suite": run.plan.suite or run.path.name,
        "datasets": _distinct(run.records, "dataset"),
        "models": _distinct(run.records, "model"),
        "split": {key: _plain(value) for key, value in run.plan.split.items()},
        "seeds": [str(seed) for seed in seeds],
        "headline": rate_title(headline(run)),
        "ensemble": ensemble(run),
        "command": run.plan.command_line,
        "records": len(run.records),
    }


def _distinct(records: list[Record], key: str) -> list[str]:
    return sorted({str(getattr(record, key)) for record in records})


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def blind_wins(run: RunFolder) -> list[str]:
    """Where the strongest attack, for some seed, is one that never touches the model."""
    found: dict[str, list[str]] = {}
    for point in points(run):
        for level in levels_tried(run):
            if any(record.access == "NONE" for record in strongest(run, point, level).values()):
                found.setdefault(point.name, []).append(level)
    return [f"{name} ({', '.join(levels)})" for name, levels in found.items()]


def coinciding(run: RunFolder) -> list[str]:
    """The panels of the trade-off whose points lie on top of each other: a figure would hide it."""
    chart = next(c for c in CHARTS if c.name == "tradeoff")
    if chart.missing(run):
        return []
    return [panel.title for panel in chart.gather(run).panels if panel.coincide]


def _is_drawn(run: RunFolder, name: str) -> bool:
    return (run.path / FOLDER / f"{name}.png").is_file()


def cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
