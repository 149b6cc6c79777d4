"""The privacy section of a Hugging Face model card, and the hub's evaluation results of the same numbers.

model_card/privacy.md is to be pasted into the model's README; model_card/.eval_results/leakbench.yaml has the hub's
format for evaluation results (https://huggingface.co/docs/hub/eval-results). The hub keys results by the id that a
benchmark's data set has there: where the run's data set is none of the hub's, the file has a place to fill in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape
from math import isnan
from pathlib import Path
from typing import Any

from leakbench.results.flags import Flag, explain_flag
from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.runtime.errors import escape_controls
from leakbench.runtime.files import write_atomically
from leakbench.statistics import Summary

from ..reading.distances import distance_name
from ..reading.guarantees import find_guarantee
from ..reading.marks import find_marks
from ..reading.selection import copy_attacks
from ..reading.tradeoff import TradeoffRow, list_rows, shown_levels
from ..reading.tradeoff_text import format_tradeoff
from ..reading.verdicts import list_verdicts
from ..reading.void import list_void_reasons
from ..sections.section import join_parts, template_environment
from ..sections.setting import describe_setting
from .shared_command import leave_out_folder

FOLDER = "model_card"
UNKNOWN = "OWNER/DATASET"  # where the run's data set has no id on the hub

TEMPLATE = """\
## Privacy

Audited with leakbench{% if ensemble %} (attacks: {{ ensemble }}){% endif %}: {{ members }} training images against
{{ nonmembers }} held-out ones of {{ data | join(", ") }}, {{ seeds | counted("seed") }}.
{% for reason in void %}

**No membership result below says anything:** {{ reason }}.
{% endfor %}
{% for one in points %}

**{{ one.name }}**{% if one.guarantee %}: {{ one.guarantee }}{% endif %}


{% for mark in one.marks %}
- **{{ mark.flag.value }}**: {{ mark.words | plain }}
{% endfor %}
{% for verdict in one.verdicts %}
- {{ verdict.levels | join(", ") }}, by {{ verdict.attack | plain }}: {{ verdict.words | plain }}
{% else %}
- no membership attack was run
{% endfor %}
{% endfor %}

{{ table(titles, cells) }}
Each level names what an attacker has: SAMPLES are generated images, API variations of given ones, DENOISER the noise
prediction, WEIGHTS the network. Brackets are 95 % intervals. "No leak found" speaks of the attacks that were run; it is
no proof of privacy.
{% if flags %}

Flags, and what they mean:

{% for name, meaning in flags %}
- **{{ name }}**: {{ meaning }}
{% endfor %}
{% endif %}
{% if commands %}

Measured by

{% for command in commands %}
    {{ command }}
{% endfor %}
{% endif %}
"""


@dataclass(frozen=True)
class HubResult:
    """An entry of the hub's evaluation results."""

    task: str
    value: float
    notes: str


def write_model_card(run: RunFolder) -> list[Path]:
    """Write both files into model_card/. Controls stand in neither."""
    files = {"privacy.md": render(run), ".eval_results/leakbench.yaml": render_yaml(run)}
    for name, text in files.items():
        write_atomically(run.path / FOLDER / name, text.encode())
    return [run.path / FOLDER / name for name in files]


def render(run: RunFolder) -> str:
    """The privacy section, in Markdown. Text of the run stands in it as text: no name is a tag or a link."""
    points = [point for point in run.plan.points if point.role != "control"]
    titles, cells = format_tradeoff(run)
    names = {point.name for point in points}
    setting, split = describe_setting(run), run.plan.split
    environment = template_environment()
    environment.filters["plain"] = _plain
    text = environment.from_string(TEMPLATE)
    facts: dict[str, Any] = {
        "ensemble": _plain(run.plan.ensemble),
        "members": split.get("member", "some"),
        "nonmembers": split.get("nonmember", "some"),
        "data": [_plain(name) for name in setting["datasets"]],
        "seeds": len(setting["seeds"]),
        "void": [_plain(reason.words) for reason in list_void_reasons(run)],
        "points": [_describe(run, point) for point in points],
        "titles": [_plain(title) for title in titles],
        "cells": [[_plain(cell) for cell in row] for row in cells if row[0] in names],
        "flags": [(_plain(flag), _plain(explain_flag(flag))) for flag in _named_flags(run, points)],
        "commands": [one for one in map(_one_line, run.plan.commands) if one],
    }
    return escape_controls(join_parts([text.render(**facts)]))


def _one_line(command: str) -> str:
    return " ".join(leave_out_folder(command).split())


def _named_flags(run: RunFolder, points: list[PlannedPoint]) -> list[str]:
    """The flags of the rows, those of every row too, and `inverted` where a verdict names an attack that is."""
    names = {point.name for point in points}
    found = {flag for row in list_rows(run) if row.point.name in names for flag in row.flags}
    told = (f"{verdict.attack} {verdict.words}" for point in points for verdict in list_verdicts(run, point))
    if any(f"({Flag.INVERTED.value})" in words for words in told):
        found.add(Flag.INVERTED.value)
    return sorted(found)


def _describe(run: RunFolder, point: PlannedPoint) -> dict[str, Any]:
    stated = find_guarantee(run, point)
    return {
        "name": _plain(point.name),
        "guarantee": _plain(stated.words) if stated.holds else "",
        "marks": find_marks(run, point.name),
        "verdicts": list_verdicts(run, point),
    }


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]])", r"\\\1", escape(" ".join(text.split()), quote=False))


def render_yaml(run: RunFolder) -> str:
    """The hub's evaluation results. Numbers of a void track, and of rows that mean nothing, are left out."""
    kind, _, name = run.plan.dataset.partition(":")
    known = kind == "hf" and re.fullmatch(r"[\w.-]+/[\w.-]+", name.partition("@")[0]) is not None
    data = name.partition("@")[0] if known else UNKNOWN
    found = list_hub_results(run)
    if not found:
        return "[]\n"
    lines = [] if known else ["# Put in the id that the benchmark's data set has on the hub; this run's is not there."]
    for one in found:
        lines += ["- dataset:", f"    id: {json.dumps(data)}", f"    task_id: {json.dumps(one.task)}"]
        lines += [f"  value: {one.value!r}", f"  notes: {json.dumps(one.notes)}"]
    return "\n".join(lines) + "\n"


def list_hub_results(run: RunFolder) -> list[HubResult]:
    """Entries for each point that is no control: AUC by level, copies beyond the null, distance to held-out images."""
    found: list[HubResult] = []
    for row in list_rows(run):
        if row.point.role != "control" and not find_marks(run, row.point.name):
            found += _hub_results(run, row)
    return found


def _hub_results(run: RunFolder, row: TradeoffRow) -> list[HubResult]:
    numbers: list[tuple[str, str, Summary]] = []
    for level, title in shown_levels(run).items():
        leak = row.leaks[level]
        if leak.auc is not None and not list_void_reasons(run):
            numbers.append((f"membership_auc_{title.lower()}", f"AUC of {leak.attack}", leak.auc.summary))
    for attack, label in copy_attacks(run).items():
        if (copies := row.copies[attack]) is not None:
            numbers.append((f"{COPY_EXCESS}_{label}", f"copies beyond the null by {attack}", copies.summary))
    if (away := row.distances[HELDOUT_DISTANCE]) is not None:
        numbers.append((HELDOUT_DISTANCE, f"{distance_name(run)} to held-out images", away.summary))
    return [HubResult(task, found.mean, _notes(row.point.name, words, found)) for task, words, found in numbers]


def _notes(point: str, words: str, found: Summary) -> str:
    bounds = "" if isnan(found.low) else f", 95% interval [{found.low:.4g}, {found.high:.4g}]"
    return f"{point}: {words}{bounds}, seeds: {found.seeds}"
