"""The points of the plan (a defense with its swept parameters): which is the baseline, what each is compared with."""

from __future__ import annotations

from leakbench.results.record import ACCESS_LEVELS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

TRADEOFF_LEVELS = ("DENOISER", "WEIGHTS")  # those at which the trade-off is read


def find_baseline(run: RunFolder) -> PlannedPoint | None:
    """The point that defenses are compared with: the baseline, or else the first point that is no control."""
    ranked = sorted((p for p in run.whole.plan.points if p.role != "control"), key=lambda p: p.role != "baseline")
    return ranked[0] if ranked else None


def find_reference(run: RunFolder, point: PlannedPoint) -> PlannedPoint | None:
    """The point that one point is compared with.

    A baseline: itself. A defense on top of baselines: the uppermost of them (a suite may have several, conditioned on
    different things). All others, and where that baseline has several points: `find_baseline`.
    """
    for own in (point.defense,) if point.role == "baseline" else reversed(point.bases):
        if found := [p for p in run.whole.plan.points if p.role == "baseline" and p.defense == own]:
            return found[0] if len(found) == 1 else find_baseline(run)
    return find_baseline(run)


def list_sweeps(run: RunFolder) -> dict[str, list[PlannedPoint]]:
    """The points of each defense, in the order of its sweep; baseline and controls are none."""
    found: dict[str, list[PlannedPoint]] = {}
    reference = find_baseline(run)
    for point in run.plan.points:
        if point.is_compared and point != reference:
            found.setdefault(point.defense, []).append(point)
    return found


def measured_levels(run: RunFolder) -> list[str]:
    """The access levels above none that some membership attack of the run was measured at."""
    measured = {record.access for record in run.records if record.family == "membership" and record.metrics}
    return [level for level in ACCESS_LEVELS[1:] if level in measured]
