"""The claims that a run bears out, as a file to start from, each below a comment that says what was measured.

For each defense without marks, at each of its points: copies and distance at most a bound above their intervals, and
the strongest attack's AUC at most one above the report's interval, and those of all attacks that it was chosen from,
at DENOISER and, where attacks had the weights, at WEIGHTS. A model that was given, as to `leakbench audit`, has the
claims of a defense. Of a baseline that the suite trained the last is the reverse: that it can be attacked at all,
without which no defense shows anything. Where the bound would be 1, or below 0.5, nothing would be claimed: a comment
says so in place of the claim.
Where a release states an epsilon by person, a claim has that.

A choice of ours: bounds are the next multiple of a step (0.05 of AUCs and rates, half a leading digit elsewhere) that
leaves a fifth of a step, so that the same model measured again does not lie at the edge; of an AUC for which that is 1,
the next 0.01 that leaves as much. A rate is at most one step or
more: fewer copies than chance are nothing to promise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from leakbench.results.metric_specs import COPY_EXCESS, HELDOUT_DISTANCE
from leakbench.results.record import QUALITY, AccessName
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.runtime.errors import UsageError, to_printable

from ..reading.guarantees import find_guarantee
from ..reading.marks import find_marks
from ..reading.points import find_baseline, measured_levels
from ..reading.selection import copy_attacks
from ..reading.void import list_void_reasons
from .claim import STRONGEST, Claim
from .judge import Judgement, judge_claim
from .stated import GUARANTEE
from .words import describe_finding

_STEP, _FINE_STEP = 0.05, 0.01


@dataclass(frozen=True)
class Supported:
    """What was `measured`, in words, and the claim that it bears out; None where it bears out none."""

    measured: str
    claim: Claim | None


def list_supported(run: RunFolder) -> list[Supported]:
    """Claims that hold of this run, in the order of its points."""
    baseline, found = find_baseline(run), []
    for point in run.plan.points:
        if point.role != "control" and not find_marks(run, point.name):
            found += _about(run, point, point == baseline and not point.given)
    return found


def _about(run: RunFolder, point: PlannedPoint, must_leak: bool) -> list[Supported]:
    wanted: list[tuple[str, str, AccessName | None, str]]
    wanted = [(attack, COPY_EXCESS, None, f"copies by {attack}") for attack in copy_attacks(run)]
    wanted.append((QUALITY, HELDOUT_DISTANCE, None, "distance to held-out images"))
    if not list_void_reasons(run):
        levels: tuple[AccessName, ...] = ("DENOISER", *(("WEIGHTS",) if "WEIGHTS" in measured_levels(run) else ()))
        wanted += [(STRONGEST, "auc", level, f"strongest attack at {level}") for level in levels]
    if not point.defense:
        raise UsageError(f"{run.path / 'plan.json'}: point {point.name!r} names no `defense`: run the suite again")
    who: dict[str, Any] = {"defense": point.defense, "parameters": _swept(run, point)}
    found = []
    for attack, metric, access, words in wanted:
        leaks = must_leak and attack == STRONGEST
        asked = {"attack": attack, "metric": metric, "access": access, "name": f"{point.name}: {words}"}
        loose = Claim(**who, **asked, **{"at_least" if leaks else "at_most": _loosest(metric, leaks)})
        (judged,) = [one for one in judge_claim(run, loose) if one.point == point.name]
        if judged.found is not None:
            bound = _bound(judged, metric, leaks)
            claim = None if bound is None else Claim(**who, **asked, **{"at_least" if leaks else "at_most": bound})
            found.append(Supported(_describe(judged, claim), claim))
    return found + _about_person(run, point, who)


def _about_person(run: RunFolder, point: PlannedPoint, who: dict[str, Any]) -> list[Supported]:
    """The claim on the epsilon by person, where one is stated."""
    name = f"{point.name}: epsilon by person"
    asked = {**who, "name": name, "attack": GUARANTEE, "metric": "epsilon_by_group"}
    epsilon = find_guarantee(run, point).by_group
    if not epsilon:
        return []
    claim = Claim(**asked, at_most=_up(epsilon, 10.0 ** floor(log10(epsilon)) / 2))
    (judged,) = [one for one in judge_claim(run, claim) if one.point == point.name]
    if judged.found is None:
        return []
    return [Supported(f"stated: {epsilon:.3g}, {judged.stated}", claim)]


def _loosest(metric: str, leaks: bool) -> float:
    """A bound that all values keep."""
    return 0.0 if leaks else 1.0 if metric == "auc" else 1e9


def _bound(judged: Judgement, metric: str, leaks: bool) -> float | None:
    """The bound that leaves room beside the interval that decides; None where that claims nothing."""
    found = judged.deciding or judged.found
    assert found is not None
    if metric == "auc":
        if leaks:
            least = -_up(-found.low, _STEP)
            return least if least >= 0.5 else None
        high = max(found.high, 1 - found.low)  # two-sided
        bounds = _up(high, _STEP), _up(high, _FINE_STEP, _STEP / 5)
        return next((bound for bound in bounds if bound < 1), None)
    if metric == COPY_EXCESS:
        return max(_STEP, _up(found.high, _STEP))
    return _up(found.high, 10.0 ** floor(log10(found.high)) / 2 if found.high > 0 else _STEP)


def _describe(judged: Judgement, claim: Claim | None) -> str:
    """ "0.82 [0.76, 0.86] by secmi": what was measured, on one line."""
    words = f"measured: {describe_finding(judged)}"
    if claim:
        return words
    bound = "at_least would be below 0.5" if judged.claim.at_least is not None else "at_most would be 1"
    return f"{judged.claim.name}: no claim, since with room beside the interval {bound}; {words}"


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


def _up(value: float, step: float, room: float | None = None) -> float:
    """The least multiple of a step that lies so much, or else a fifth of the step, or more above a value."""
    return round(ceil(round((value + (step / 5 if room is None else room)) / step, 9)) * step, 12)


def format_claims(found: Sequence[Supported]) -> str:
    """The claims as a file that `read_claims` reads, with what was measured in comments."""
    return "\n".join(_format(one) for one in found)


def _format(one: Supported) -> str:
    lines = [f"# {to_printable(one.measured)}"]
    if one.claim is None:
        return lines[0] + "\n"
    lines.append("[[claim]]")
    for key, value in one.claim.model_dump(exclude_defaults=True).items():
        if isinstance(value, dict):
            inner = ", ".join(f"{json.dumps(name)} = {json.dumps(given)}" for name, given in value.items())
            lines.append(f"{key} = {{ {inner} }}")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"
