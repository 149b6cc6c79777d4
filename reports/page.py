"""One page from several runs, for a project's docs: what each was, how long it took and where, and what it found.

It is made from what lies in the runs' folders and from nothing else, so that the same folders give the same page, byte
for byte. Figures are left to the runs' own reports.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.runtime.files import write_atomically

from .costs import cost_of
from .markdown import environment, facts
from .points import Point, points, quality
from .words import listed, told

_TITLES = ("point", "steps", "batch", "training, s", "sampling, s", "network evaluations of its own step")


@dataclass(frozen=True)
class Session:
    """One call of `leakbench run` on a folder: command, seconds, cells done, workers, device, versions."""

    command: str
    seconds: float
    cells: int
    workers: int

    @property
    def words(self) -> str:
        """In a line."""
        return f"`{self.command}`: {self.cells} cells in {self.seconds:.0f} s, workers: {self.workers}"


def write_page(runs: Sequence[RunFolder], path: Path) -> Path:
    """Writes the page. The folders of the runs stand in it as seen from the page's own."""
    write_atomically(path, render(runs, path.parent).encode())
    return path


def render(runs: Sequence[RunFolder], beside: Path) -> str:
    """The text of the page."""
    template = environment().get_template("page.md.j2")
    return template.render(runs=[{**facts(run), **_about(run, beside)} for run in runs])


def _about(run: RunFolder, beside: Path) -> dict[str, Any]:
    titles, cells = told(list(_TITLES), [_training(run, point) for point in points(run)])
    return {
        "where": Path(os.path.relpath(run.path, beside)).as_posix(),
        "summary": run.plan.summary,
        "samples": run.plan.samples,
        "distances": listed(sorted({r.features for p in points(run) for r in quality(run, p) if r.features})),
        "machines": _machines(run),
        "sessions": [Session(**one).words for one in run.history],
        "training": {"titles": titles, "cells": cells},
    }


def _machines(run: RunFolder) -> list[str]:
    """Device and versions, as the records say."""
    said = [record.run.environment.auditor for record in run.records]
    found = [", ".join(f"{key} {value}" for key, value in sorted(one.items())) for one in said if one]
    return list(dict.fromkeys(found))


def _steps(parameters: dict[str, Any], facts: list[dict[str, Any]]) -> str:
    """The steps asked for, and how many were taken where a watched training says so: facts of a base stay above it."""
    asked, taken = parameters.get("steps", ""), sorted({fact["steps_done"] for fact in facts if "steps_done" in fact})
    return f"{listed(list(map(str, taken)))} of {asked}" if taken and "every" in parameters else str(asked)


def _training(run: RunFolder, point: Point) -> list[str]:
    records = quality(run, point)
    cost, parameters = cost_of(run, point), next((r.defense_params for r in records), {})
    sampling = [float(s) for r in records if (s := r.run.timings.get("sample")) is not None]
    return [
        point.name,
        _steps(parameters, [r.info.get("defense", {}) for r in records]),
        str(parameters.get("batch", "")),
        "" if cost.seconds is None else f"{cost.seconds:.0f}",
        f"{sum(sampling) / len(sampling):.0f}" if sampling else "",
        "" if cost.evaluations is None else f"{cost.evaluations:.3g}",
    ]
