"""The claims that a run bears out, as a file to start from.

For each defense without marks, at each of its points: copies and distance at most the end of their intervals, the
strongest attack's AUC at most the end of its own. For the baseline the reverse of the last: that it can be attacked at
all, without which no defense shows anything. Bounds are rounded outwards to two digits, so that each claim holds of the
run it was made from.
"""

from __future__ import annotations

import json
from math import ceil, floor, log10

from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE
from leakbench.results.record import QUALITY, AccessName
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.marks import find_marks
from ..reading.points import find_baseline
from ..reading.selection import copy_attacks
from ..reading.void import list_void_reasons
from .claim import STRONGEST, Claim
from .judge import judge_claim

_LEVEL: AccessName = "DENOISER"


def list_supported(run: RunFolder) -> list[Claim]:
    """Claims that hold of this run, in the order of its points."""
    baseline, found = find_baseline(run), []
    for point in run.plan.points:
        if point.role != "control" and not find_marks(run, point.name):
            found += _about(run, point, point == baseline)
    return found


def _about(run: RunFolder, point: PlannedPoint, is_baseline: bool) -> list[Claim]:
    wanted: list[tuple[str, str, AccessName | None, str]]
    wanted = [(attack, COPY_EXCESS, None, f"copies by {attack}") for attack in copy_attacks(run)]
    wanted.append((QUALITY, HELDOUT_DISTANCE, None, "distance to held-out images"))
    if not list_void_reasons(run):
        wanted.append((STRONGEST, "auc", _LEVEL, f"strongest attack at {_LEVEL}"))
    who = {"defense": point.defense, "parameters": _swept(run, point)}
    found = []
    for attack, metric, access, words in wanted:
        leaks = is_baseline and attack == STRONGEST
        asked = {"attack": attack, "metric": metric, "access": access, "name": f"{point.name}: {words}"}
        loose = Claim(**who, **asked, **{"at_least" if leaks else "at_most": 0.0 if leaks else 1e9})
        interval = _interval(run, loose, point)
        if interval is not None:
            low, high = interval
            most = max(high, 1 - low) if metric == "auc" else high  # two-sided
            bound = {"at_least": _down(low)} if leaks else {"at_most": _up(most)}
            if metric != "auc" or bound.get("at_most", 0.0) < 1:  # an AUC of at most 1 is no claim
                found.append(Claim(**who, **asked, **bound))
    return [claim for claim in found if all(one.outcome == "holds" for one in judge_claim(run, claim))]


def _interval(run: RunFolder, claim: Claim, point: PlannedPoint) -> tuple[float, float] | None:
    """The interval that a claim would be judged by at a point; None where there is none."""
    (judged,) = [one for one in judge_claim(run, claim) if one.point == point.name]
    return None if judged.found is None else (judged.found.low, judged.found.high)


def _swept(run: RunFolder, point: PlannedPoint) -> dict[str, float | str | bool]:
    """The parameters that tell a point from the others of its defense."""
    own = [p.name for p in run.plan.points if p.defense == point.defense]
    values = {r.point: r.defense_params for r in run.records if r.point in own}
    mine = values.get(point.name, {})
    return {
        key: value
        for key, value in mine.items()
        if isinstance(value, float | int | str) and any(other.get(key) != value for other in values.values())
    }


def _up(value: float) -> float:
    step = 10.0 ** (floor(log10(abs(value))) - 1) if value else 0.01
    return round(ceil(value / step) * step, 12)


def _down(value: float) -> float:
    return -_up(-value)


def format_claims(claims: list[Claim]) -> str:
    """The claims as a file that `read_claims` reads."""
    return "\n".join(_format(claim) for claim in claims)


def _format(claim: Claim) -> str:
    lines = ["[[claim]]"]
    for key, value in claim.model_dump(exclude_defaults=True).items():
        if isinstance(value, dict):
            inner = ", ".join(f"{json.dumps(name)} = {json.dumps(one)}" for name, one in value.items())
            lines.append(f"{key} = {{ {inner} }}")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"
