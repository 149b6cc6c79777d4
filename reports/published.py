"""What papers report, beside the run's own number for the same defense, attack and metric.

The numbers stand in the suite's [[published]] entries and are copied into the plan. A run's own is the lowest access
level's that the attack was asked at, read as the calibration images asked for. A metric that the run has not (or that
ours has no equal of) stands without one. Nothing is subtracted: the settings differ, and the section says how.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.record import QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PublishedNumber

from .measured import leakage, measure, summary_of
from .points import ACCESS, Point, points
from .words import NOTHING, bracket, distance, distance_title, percent, rate_title, significant, told

_TITLES = ["point", "attack", "number", "paper", "measured on", "reported", "this run", "note"]


def published(run: RunFolder) -> dict[str, Any] | None:
    """The table as text and where this run stands; None where a suite names no paper."""
    rows = [cells for row in run.plan.published for cells in _rows(run, row)]
    if not rows:
        return None
    titles, cells = told(_TITLES, rows)
    return {"titles": titles, "cells": cells, "here": here(run)}


def _rows(run: RunFolder, row: PublishedNumber) -> list[list[str]]:
    """One a point of the defense."""
    which: list[Point | None] = [p for p in points(run) if p.defense == row.defense]
    return [_cells(run, row, point) for point in which or [None]]


def _cells(run: RunFolder, row: PublishedNumber, point: Point | None) -> list[str]:
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


def _records(run: RunFolder, point: Point, attack: str) -> list[Record]:
    """Of the lowest access level that has metrics."""
    found = [r for r in run.records if r.point == point.name and r.attack == (attack or QUALITY) and r.metrics]
    lowest = min((ACCESS.index(record.access) for record in found), default=0)
    return [record for record in found if ACCESS.index(record.access) == lowest]


def _own(records: list[Record], metric: str) -> str:
    found = summary_of(leakage(records, metric)) if metric else None
    if found is None:  # a fact of the attack's, perhaps
        facts = [{**record.info.get("defense", {}), **record.info}.get(metric) for record in records]
        return " / ".join(significant(fact) for fact in facts if isinstance(fact, int | float)) or NOTHING
    if metric.startswith("frechet"):
        return f"{distance(found)} ({distance_title(records[0].features)})"
    # The paper's number is of scores that no calibration image turned round.
    beside = " (inverted)" if any(record.info.get("orientation") == -1 for record in records) else ""
    null = summary_of(measure(records, f"{metric}_null")) if metric.startswith("copy_rate") else None
    beside += f" (real images: {percent(null)})" if null else ""
    return (percent(found) if _is_rate(metric) else bracket(found, 3)) + beside


def _reported(value: float, metric: str) -> str:
    if _is_rate(metric):
        return f"{value * 100:g} %"
    return f"{value:g}"


def _is_rate(metric: str) -> bool:
    return metric.startswith(("tpr@", "copy_rate"))


def here(run: RunFolder) -> str:
    """What this run's numbers were measured on, in one sentence."""
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


def scaled(run: RunFolder) -> dict[str, Any] | None:
    """What --budget made of the suite; None where it changed nothing."""
    budget = run.plan.budget
    if not budget or not budget.changes:
        return None
    lines = [f"`{one.path}`: {_value(one.published)} -> {_value(one.used)}" for one in budget.changes]
    small = "its sizes for small machines, and of these " if budget.small else ""
    head = f"scaled to a budget of {budget.minutes:g} minutes: {small}steps and samples x{budget.factor:g}"
    return {"head": head, "lines": lines}


def _value(value: object) -> str:
    if value is None:
        return "the default"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
