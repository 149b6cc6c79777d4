"""Fine-tunes: attacks without and with the base that a model started from, and on that base itself."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.aggregate import aggregate_oriented
from ..reading.formatting import NOTHING, format_ci
from ..reading.selection import select_records

PREFIX = "calibrated_"
TITLES = ["point", "its base", "attack", "AUC without the base", "AUC with the base", "AUC on the base itself"]
TEMPLATE = """\
## What fine-tuning gave away

Whoever holds the base that a model was fine-tuned from can subtract what the base finds easy as well: attacks whose
name begins with `calibrated_` score an image under both models, with the same noise. They speak of the fine-tuning
alone, and not of what the base saw in its own training. Intervals are each attack's own.

{{ table(titles, cells) }}
The base is a control: there an attack should find nothing. Where it does, either the base was trained on these members
before, or members and nonmembers differ by themselves, and the column without the base shows that as well. What the
base copies as often as the fine-tune, the fine-tuning did not teach.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """A row for each fine-tune and each attack that has a calibrated twin; None where none was run."""
    twins = [attack for attack in run.plan.attacks if attack.startswith(PREFIX)]
    pairs = [(point, base) for point in run.plan.points if (base := _find_base(run, point)) is not None]
    rows = [_row(run, point, base, twin) for point, base in pairs for twin in twins]
    cells = [row for row in rows if row[4] != NOTHING]
    return {"titles": TITLES, "cells": cells} if cells else None


def _row(run: RunFolder, point: PlannedPoint, base: PlannedPoint, twin: str) -> list[str]:
    attack = twin.removeprefix(PREFIX)
    plain = attack if attack in run.plan.attacks else ""  # `calibrated_curve` is the twin of none
    asked = (point, plain), (point, twin), (base, plain)
    return [point.name, base.name, plain or twin, *(_auc(run, at, one) for at, one in asked)]


def _find_base(run: RunFolder, point: PlannedPoint) -> PlannedPoint | None:
    """The control that a point's chain starts from, or that was handed in beside a given model."""
    controls = [one for one in run.plan.points if one.role == "control" and one.name != point.name]
    if point.given:
        return next((one for one in controls if one.given), None)
    return next((one for one in controls if point.bases and one.defense == point.bases[0]), None)


def _auc(run: RunFolder, point: PlannedPoint, attack: str) -> str:
    records = select_records(run, point, "membership", attack, "DENOISER") if attack else []
    return format_ci(aggregate_oriented(records, "auc"))
