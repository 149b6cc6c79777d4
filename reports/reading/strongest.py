"""The strongest membership attack of a point at an access level, and the points that stand for a crowded run.

Seed by seed it is the attack whose AUC has the largest corrected lower bound (`family.py`), read towards the side on
which it lies, among those that touch the model and need that level or less; for the TPR likewise by its own bound. The
bounds hold for all attacks together, so choosing among them on the reported images flatters none, and no stronger one
is hidden. Of equals the first name is taken.

`chosen_on_calibration` is the other choice, by the largest |calibration AUC - 1/2|: for tests that need an attack that
the reported images had no part in choosing.
"""

from __future__ import annotations

from collections.abc import Callable

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import aggregate
from .copy_rank import rank_excess
from .family import Corrected, find_corrected
from .marks import find_marks
from .points import find_baseline, list_sweeps
from .selection import copy_attacks, select_records

Among = Callable[[Record], bool]


def strongest(run: RunFolder, point: PlannedPoint, level: str, among: Among = lambda record: True) -> dict[int, Record]:
    """The record with the largest corrected lower bound of the AUC at an access level, for each seed that has one.

    `among` narrows the choice. At NONE the attacks that never touch the model are meant, elsewhere they take no part.
    """
    return _choose(run, point, level, among, lambda one: one.least)


def strongest_by_image(run: RunFolder, point: PlannedPoint, level: str) -> dict[int, Record]:
    """The same among attacks that are asked about images, not about persons: for what is told of single images."""
    return strongest(run, point, level, lambda record: record.unit == "image")


def strongest_by_rate(
    run: RunFolder, point: PlannedPoint, level: str, among: Among = lambda record: True
) -> dict[int, Record]:
    """The same by the headline TPR; where that judges nothing, what `strongest` says."""
    found = strongest(run, point, level, among)
    by_rate = _choose(run, point, level, among, lambda one: one.least_rate)
    corrected = {seed: find_corrected(run, record) for seed, record in by_rate.items()}
    return {seed: by_rate[seed] if (one := corrected[seed]) and one.judges else found[seed] for seed in found}


def _choose(
    run: RunFolder, point: PlannedPoint, level: str, among: Among, least: Callable[[Corrected], float]
) -> dict[int, Record]:
    found: dict[int, list[tuple[float, str, int, Record]]] = {}
    for record in allowed_records(run, point, level):
        corrected = find_corrected(run, record) if among(record) else None
        if corrected is not None:
            order = -round(least(corrected), 12), record.attack, -ACCESS_LEVELS.index(record.access)
            found.setdefault(record.seed, []).append((*order, record))
    return {seed: min(records, key=lambda one: one[:3])[3] for seed, records in sorted(found.items())}


def allowed_records(run: RunFolder, point: PlannedPoint, level: str) -> list[Record]:
    """The measured membership records of a point whose attack needs a level or less, and touches the model; at NONE
    those that never do."""
    allowed = ACCESS_LEVELS[: ACCESS_LEVELS.index(level) + 1]
    kept = allowed if level == "NONE" else allowed[1:]
    return [r for r in select_records(run, point, "membership") if r.access in kept and r.metrics]


def chosen_on_calibration(records: list[Record]) -> dict[int, Record]:
    """The record with the largest |calibration AUC - 1/2| for each seed; one without takes part only if it is alone."""
    found: dict[int, list[Record]] = {}
    for record in records:
        found.setdefault(record.seed, []).append(record)
    chosen = {seed: _best_calibrated(some) for seed, some in sorted(found.items())}
    return {seed: record for seed, record in chosen.items() if record is not None}


def _best_calibrated(records: list[Record]) -> Record | None:
    calibrated = [r for r in records if calibration_strength(r) is not None]
    if not calibrated:
        return records[0] if len(records) == 1 else None
    return min(calibrated, key=lambda r: (-(calibration_strength(r) or 0.0), r.attack, -ACCESS_LEVELS.index(r.access)))


def calibration_strength(record: Record) -> float | None:
    """|calibration_auc - 1/2|, rounded lest float noise decides between an attack and its mirror image."""
    metric = record.metric("calibration_auc")
    return None if metric is None or metric.value is None else round(abs(metric.value - 0.5), 12)


def most_protective(run: RunFolder, sweep: list[PlannedPoint]) -> PlannedPoint:
    """The point of a sweep with the least copying (mean excess, below zero as zero, summed over the attacks that
    measure it).

    Of equals, and without such attacks, the one whose strongest attack at DENOISER is closest to 1/2, and then the
    first. A point whose row means nothing is taken only where no other is left.
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
    return sum(m is None for m in found), sum(rank_excess(m.summary.mean) for m in found if m is not None)


def _leakage(run: RunFolder, point: PlannedPoint) -> float:
    found = aggregate(strongest(run, point, "DENOISER").values(), "auc")
    return abs(found.summary.mean - 0.5) if found else 1.0
