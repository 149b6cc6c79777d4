"""A page of several runs, for a project's docs: command, duration, machine and findings of each.

It is made from the files in the runs' folders alone, so the same folders give the same page, byte for byte. Figures are
left to the runs' own reports.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.runtime.files import write_atomically

from ..reading.controls import Control, list_controls
from ..reading.costs import find_cost
from ..reading.formatting import drop_empty_columns, join_words
from ..reading.markdown import disarm
from ..reading.marks import format_marks
from ..reading.selection import quality_records
from ..reading.tradeoff_text import format_tradeoff
from ..reading.verdicts import list_verdicts
from ..sections.flags import list_raised_flags
from ..sections.section import join_parts, render_section, template_environment
from ..sections.setting import describe_setting

SECTIONS = ("attacks", "guarantees", "forgetting", "fairness", "attribute", "published")
_TITLES = ("point", "steps", "batch", "training, s", "sampling, s", "network evaluations of its own step")


@dataclass(frozen=True)
class Session:
    """A call of `leakbench run` on a folder: command, seconds, cells done, workers, device, versions."""

    command: str
    seconds: float
    cells: int
    workers: int

    @property
    def words(self) -> str:
        """The call in a line."""
        return f"`{self.command}`: {self.cells} cells in {self.seconds:.0f} s, workers: {self.workers}"


def write_page(runs: Sequence[RunFolder], path: Path) -> Path:
    """Write the page. The folders of the runs stand in it as seen from the page's own."""
    write_atomically(path, render(runs, path.parent).encode())
    return path


def render(runs: Sequence[RunFolder], beside: Path) -> str:
    """The text of the page; `beside` is its folder."""
    template = template_environment().from_string(TEMPLATE)
    return disarm(join_parts([template.render(runs=[_collect(run, beside) for run in runs])]))


TEMPLATE = """\
# Results

This page is written by `leakbench report DIR... --page FILE` from the records that lie beside it: no number in it is
typed. Brackets are 95 % intervals. reading.md says what the columns mean, statistics.md how they are computed.

{% for run in runs %}
# `{{ run.suite }}` on {{ run.datasets | join(", ") }}

{{ run.summary }}

| | |
|---|---|
| command | `{{ run.command | cell }}` |
{% for machine in run.machines %}
| machine | {{ machine | cell }} |
{% endfor %}
{% for session in run.sessions %}
| took | {{ session | cell }} |
{% endfor %}
| network | {{ run.models | join(", ") | cell }} |
| seeds | {{ run.seeds | join(", ") }} |
| samples a release | {{ run.samples }} |
| distances | Frechet distances of the features {{ run.distances | cell }} |
{% for key, value in run.split.items() %}
| split: {{ key | replace("_", " ") | cell }} | {{ value | cell }} |
{% endfor %}

Records, raw scores and the plan: [{{ run.where }}]({{ run.where }}/plan.json).

{{ run.validity }}{{ run.scaled }}What was trained, and how long that took when it was (of a chain, the outermost step;
a training that the cache holds is not made again, so that a run may take less than their sum):

{{ table(run.training.titles, run.training.cells) }}
The trade-off:

{{ table(run.titles, run.cells) }}
Verdicts:

{% for point, marks, found in run.verdicts %}
- **{{ point }}**{{ marks }}
{% for one in found %}
  - {{ one.levels | join(", ") }}, by {{ one.attack }}: {{ one.words }}
{% else %}
  - nothing to judge
{% endfor %}
{% endfor %}

{{ run.sections }}Controls that cannot leak ({{ run.controls | length }}): {{ run.control_verdict }}.

{% for flag in run.flags %}
- `{{ flag.name }}` ({{ flag.records | counted("record") }}; {{ flag.who }}): {{ flag.meaning }}.
{% endfor %}

{% endfor %}
"""


def _collect(run: RunFolder, beside: Path) -> dict[str, Any]:
    titles, cells = format_tradeoff(run)
    controls = list_controls(run)
    trained = drop_empty_columns(list(_TITLES), [_training(run, point) for point in run.plan.points])
    features = {r.features for p in run.plan.points for r in quality_records(run, p) if r.features}
    return {
        **describe_setting(run),
        "suite": run.plan.suite or run.path.name,
        "summary": run.plan.summary,
        "command": run.plan.command_line,
        "machines": _machines(run),
        "sessions": [Session(**one).words for one in run.history],
        "samples": run.plan.samples,
        "distances": join_words(sorted(features)),
        "where": Path(os.path.relpath(run.path, beside)).as_posix(),
        "validity": render_section("validity", run),
        "scaled": render_section("scaled", run),
        "training": {"titles": trained[0], "cells": trained[1]},
        "titles": titles,
        "cells": cells,
        "verdicts": [
            (point.name, format_marks(run, point.name), list_verdicts(run, point)) for point in run.plan.points
        ],
        "sections": "".join(render_section(name, run) for name in SECTIONS),
        "controls": controls,
        "control_verdict": _judge_controls(controls),
        "flags": list_raised_flags(run),
    }


def _judge_controls(controls: list[Control]) -> str:
    bad = [control.what for control in controls if not control.behaves]
    if not bad:
        return "all hold 0.5, family-wise"
    verb = "misbehaves" if len(bad) == 1 else "misbehave"
    return f"**{join_words(bad)} {verb}**: until that is explained, read no finding of this run as evidence"


def _machines(run: RunFolder) -> list[str]:
    """Device and versions, as the records say."""
    said = [record.run.environment.auditor for record in run.records]
    found = [", ".join(f"{key} {value}" for key, value in sorted(one.items())) for one in said if one]
    return list(dict.fromkeys(found))


def _steps(parameters: dict[str, Any], facts: list[dict[str, Any]]) -> str:
    """The steps asked for, and how many were taken where a watched training says so: facts of a base stay above it."""
    asked, taken = parameters.get("steps", ""), sorted({fact["steps_done"] for fact in facts if "steps_done" in fact})
    return f"{join_words(list(map(str, taken)))} of {asked}" if taken and "every" in parameters else str(asked)


def _training(run: RunFolder, point: PlannedPoint) -> list[str]:
    records = quality_records(run, point)
    cost, parameters = find_cost(run, point), next((r.defense_params for r in records), {})
    sampling = [float(s) for r in records if (s := r.run.timings.get("sample")) is not None]
    return [
        point.name,
        _steps(parameters, [r.info.get("defense", {}) for r in records]),
        str(parameters.get("batch", "")),
        "" if cost.seconds is None else f"{cost.seconds:.0f}",
        f"{sum(sampling) / len(sampling):.0f}" if sampling else "",
        "" if cost.evaluations is None else f"{cost.evaluations:.3g}",
    ]
