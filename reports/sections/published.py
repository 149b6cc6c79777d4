"""Published numbers: those that papers report, beside the run's own for the same defense, attack and metric.

They stand in the suite's [[published]] entries and are copied into the plan. The run's own number is that of the lowest
access level that the attack was run at, with the sign that the calibration images asked for. A published metric that
the run does not have stands without one. Nothing is subtracted, because the settings differ; the section says how.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.record import ACCESS_LEVELS, QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint, PublishedNumber

from ..reading.aggregate import aggregate, aggregate_oriented, summarise_metric
from ..reading.formatting import (
    NOTHING,
    distance_title,
    drop_empty_columns,
    format_ci,
    format_distance,
    format_percent,
    format_significant,
    rate_title,
)

_TITLES = ["point", "attack", "number", "paper", "measured on", "reported", "this run", "note"]

TEMPLATE = """\
## What papers report

{{ table(titles, cells) }}
"Reported" is the paper's number, "this run" ours. They were not measured on the same thing, so no difference is taken.
{% if inverted %}
"(inverted)": on our calibration images members scored lower, so the attack is read with the opposite sign here; the
paper's is not.
{% endif %}
{% if real %}
"(real images: ...)": the share of held-out real images at the same cut-off, none of which can be a copy.
{% endif %}
This run: {{ here }}. "(secondary source)" marks a number that we have from a summary or a review and not from the
paper.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table as text and where this run stands; None where a suite names no paper."""
    rows = [cells for number in run.plan.published for cells in _rows(run, number)]
    if not rows:
        return None
    titles, cells = drop_empty_columns(_TITLES, rows)
    text = str(cells)
    return {
        "titles": titles,
        "cells": cells,
        "here": here(run),
        "inverted": "(inverted)" in text,
        "real": "(real images:" in text,
    }


def _rows(run: RunFolder, row: PublishedNumber) -> list[list[str]]:
    """Rows of a number, one for each point of the defense."""
    which: list[PlannedPoint | None] = [p for p in run.plan.points if p.defense == row.defense]
    return [_cells(run, row, point) for point in which or [None]]


def _cells(run: RunFolder, row: PublishedNumber, point: PlannedPoint | None) -> list[str]:
    records = [] if point is None else _records(run, point, row.attack)
    metric = row.metric
    number = row.says or (
        distance_title("inception") if metric == "frechet" else rate_title(metric).replace("auc", "AUC")
    )
    value = row.value
    reported = value if isinstance(value, str) else _reported(float(value), metric)
    name = row.defense if point is None else point.name
    own = _own(records, metric)
    return [
        name or NOTHING,
        row.attack or NOTHING,
        number,
        row.paper,
        row.setting,
        reported,
        own,
        row.note or NOTHING,
    ]


def _records(run: RunFolder, point: PlannedPoint, attack: str) -> list[Record]:
    """Records of the lowest access level that has metrics."""
    found = [r for r in run.records if r.point == point.name and r.attack == (attack or QUALITY) and r.metrics]
    lowest = min((ACCESS_LEVELS.index(record.access) for record in found), default=0)
    return [record for record in found if ACCESS_LEVELS.index(record.access) == lowest]


def _own(records: list[Record], metric: str) -> str:
    found = summarise_metric(aggregate_oriented(records, metric)) if metric else None
    if found is None:  # a fact of the attack's, perhaps
        facts = [{**record.info.get("defense", {}), **record.info}.get(metric) for record in records]
        return " / ".join(format_significant(fact) for fact in facts if isinstance(fact, int | float)) or NOTHING
    if metric.startswith("frechet"):
        return f"{format_distance(found)} ({distance_title(records[0].features)})"
    # The paper's number is of scores that no calibration image turned round.
    beside = " (inverted)" if any(record.info.get("orientation") == -1 for record in records) else ""
    null = summarise_metric(aggregate(records, f"{metric}_null")) if metric.startswith("copy_rate") else None
    beside += f" (real images: {format_percent(null)})" if null else ""
    return (format_percent(found) if _is_rate(metric) else format_ci(found, 3)) + beside


def _reported(value: float, metric: str) -> str:
    if _is_rate(metric):
        return f"{value * 100:g} %"
    return f"{value:g}"


def _is_rate(metric: str) -> bool:
    return metric.startswith(("tpr@", "copy_rate"))


def here(run: RunFolder) -> str:
    """The setting of this run's numbers, in one sentence."""
    split, settings = run.plan.split, run.plan.settings
    words = [run.plan.model]
    if "member" in split:
        words.append(f"trained on {split['member'] + split.get('calibration_in', 0):,} images")
    words += [
        f"{split[part]:,} {what}"
        for part, what in (("member", "members"), ("nonmember", "nonmembers"))
        if part in split
    ]
    steps = settings.get("sampler", {}).get("steps")
    words += [f"a walk of {steps} steps"] if steps else []
    words += [f"{run.plan.samples:,} samples"] if run.plan.samples else []
    return ", ".join(filter(None, words))
