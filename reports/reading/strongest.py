"""The strongest membership attack of a point at an access level, and the points that stand for a crowded run.

The choice is made seed by seed among the attacks that need that level or less, by the largest |calibration_auc - 1/2|:
on calibration images, so that the reported ones stay untouched by the choice. It is two-sided like the verdicts; of
equals the first name is taken. An attack without `calibration_auc` takes part only if it stands alone.
"""

from __future__ import annotations

from collections.abc import Callable

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import aggregate
from .marks import find_marks
from .points import ACCESS_LEVELS, find_baseline, list_sweeps
from .selection import copy_attacks, select_records


def strongest(
    run: RunFolder, point: PlannedPoint, level: str, among: Callable[[Record], bool] = lambda record: True
) -> dict[int, Record]:
    """The record of the strongest membership attack at an access level, for each seed that has one.

    `among` narrows the choice. An attack that is not applicable has no metrics, and takes no part.
    """
    allowed = ACCESS_LEVELS[: ACCESS_LEVELS.index(level) + 1]
    found: dict[int, list[Record]] = {}
    for record in select_records(run, point, "membership"):
        if record.access in allowed and record.metrics and among(record):
            found.setdefault(record.seed, []).append(record)
    chosen = {seed: _strongest(records) for seed, records in sorted(found.items())}
    return {seed: record for seed, record in chosen.items() if record is not None}


def _strongest(records: list[Record]) -> Record | None:
    calibrated = [r for r in records if calibration_strength(r) is not None]
    if not calibrated:
        return records[0] if len(records) == 1 else None
    return min(calibrated, key=lambda r: (-(calibration_strength(r) or 0.0), r.attack, -ACCESS_LEVELS.index(r.access)))


def calibration_strength(record: Record) -> float | None:
    """|calibration_auc - 1/2|, rounded lest float noise decides between an attack and its mirror image."""
    metric = record.metric("calibration_auc")
    return None if metric is None or metric.value is None else round(abs(metric.value - 0.5), 12)


def most_protective(run: RunFolder, sweep: list[PlannedPoint]) -> PlannedPoint:
    """The point of a sweep with the least copying (mean excess, summed over the attacks that measure it).

    Without such attacks the one whose strongest attack at DENOISER is closest to 1/2; equals go to the first. A point
    whose row means nothing is taken only where no other is left.
    """
    meant = [point for point in sweep if not find_marks(run, point.name)]
    return min(meant or sweep, key=lambda point: (*_copying(run, point), _leakage(run, point)))


def representative_points(run: RunFolder) -> list[PlannedPoint]:
    """The points where all would be too many: no protection, each defense at its least copying, the controls."""
    reference = find_baseline(run)
    chosen = [most_protective(run, sweep) for sweep in list_sweeps(run).values()]
    controls = [p for p in run.plan.points if p.role == "control"]
    return [*([reference] if reference in run.plan.points else []), *chosen, *controls]


def _copying(run: RunFolder, point: PlannedPoint) -> tuple[int, float]:
    found = [aggregate(select_records(run, point, "replication", a), COPY_EXCESS) for a in copy_attacks(run)]
    return sum(m is None for m in found), sum(m.summary.mean for m in found if m is not None)


def _leakage(run: RunFolder, point: PlannedPoint) -> float:
    found = aggregate(strongest(run, point, "DENOISER").values(), "auc")
    return abs(found.summary.mean - 0.5) if found else 1.0
