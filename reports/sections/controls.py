"""Negative controls, as a section of the report."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.controls import Control, list_controls
from ..reading.formatting import format_estimate

SHOWN = 12  # of more controls, the farthest from 1/2


def top_controls(found: list[Control]) -> list[Control]:
    """Controls that a page shows: all; of many, those that misbehave and those farthest from 1/2."""
    farthest = sorted(found, key=lambda control: (control.behaves, -abs(control.auc.value - 0.5)))
    shown = max(SHOWN, sum(not control.behaves for control in found))
    return [control for control in found if control in farthest[:shown]]


TEMPLATE = """\
## Negative controls

{% if controls %}
These cannot leak: their AUC intervals all include 0.5 with 99 % probability ({{ controls | length | counted("control")
}}, family-wise). As in every table, an AUC is read with the sign that the calibration images asked for; the intervals
are wider here, as all controls have to hold together.
{% if few %}
Of few images exact tests judge in the place of the intervals.
{% endif %}

{{ table(titles, cells) }}
{% if cells | length < controls | length %}
Shown are those farthest from 0.5; the other {{ controls | length - cells | length }} behave.

{% endif %}
{% if controls | rejectattr("behaves") | list %}
**A control misbehaves.** Until that is explained, read no finding of this run as evidence.
{% else %}
All controls behave.
{% endif %}
{% else %}
None were run: nothing here rules out that the measurement itself is biased.
{% endif %}
{% if not has_control %}

No network that has seen no member (a point with the role `control`, such as `untrained`) is in the plan.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any]:
    """Collect all controls, and the table of those that are shown."""
    found = list_controls(run)
    return {
        "controls": found,
        "few": any(control.p_value is not None for control in found),
        "titles": ["control", "AUC", "holds 0.5"],
        "cells": [_format_row(control) for control in top_controls(found)],
        "has_control": any(point.role == "control" for point in run.plan.points),
    }


def _format_row(control: Control) -> list[str]:
    own = "" if control.exact else " (its own 95 %: no raw scores)"
    return [control.what, f"{format_estimate(control.auc)}{own}", "yes" if control.behaves else "**no**"]
