"""The method behind a defense whose id in the suite is not the method's name, and the parameters that set it apart."""

from __future__ import annotations

import json
from typing import Any

from leakbench.results.run_plan import PlannedPoint, RunPlan

_NO_PARAMETERS = ("id", "name", "base", "role")
_LONGEST = 200


def describe_method(plan: RunPlan, point: PlannedPoint) -> str:
    """`cpsample, direction = random`: the parameters are those that the suite's entry `cpsample` does not share. Swept
    ones are left out, as the point's name has them. Empty where the id is the method's name."""
    if point.method == point.defense:
        return ""
    entries: list[dict[str, Any]] = plan.settings.get("defense") or []
    by_id = {str(entry.get("id", entry.get("name"))): entry for entry in entries}
    own, plain = by_id.get(point.defense, {}), by_id.get(point.method)
    if plain is None:
        return point.method
    differs = [
        f"{key} = {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in own.items()
        if key not in _NO_PARAMETERS and not isinstance(value, list | dict) and plain.get(key) != value
    ]
    return ", ".join([point.method, *differs])[:_LONGEST]
