"""Cost of the outermost step of a point: seconds of its training, and evaluations of the network.

A record counts the evaluations of its whole chain. Those of the base are taken off where the base is a point of the run
itself: the point whose methods and parameters are those below the outermost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import aggregate
from .selection import quality_records

EVALUATIONS = "network_evaluations"


@dataclass(frozen=True)
class Cost:
    """Means over the seeds; None where nothing is on record. `base` is what the step was built on, if it is known.

    `whole`: the evaluations are those of the whole chain, as the base is no point of the run.
    """

    seconds: float | None
    evaluations: float | None
    whole: bool
    base: PlannedPoint | None


def find_cost(run: RunFolder, point: PlannedPoint) -> Cost:
    """Cost of the outermost step of a point."""
    chain = _evaluations(run, point)
    base = find_base(run, point)
    below = _evaluations(run, base) if base else {}
    shared = sorted(chain.keys() & below.keys())
    own = [chain[seed] - below[seed] for seed in shared] or list(chain.values())
    return Cost(_mean(_seconds(run, point)), _mean(own), len(point.chain) != 1 and not shared, base)


def find_base(run: RunFolder, point: PlannedPoint) -> PlannedPoint | None:
    """The point that a point's outermost step was built on; None without one, and where it is no point of the run."""
    wanted = {key: value for key, value in _parameters(run, point).items() if "." in key}
    for other in run.plan.points:
        if other.chain and other.chain == point.chain[:-1] and _as_base(run, other) == wanted:
            return other
    return None


def _as_base(run: RunFolder, point: PlannedPoint) -> dict[str, Any]:
    """A point's parameters as they stand in the records of what is built on it: its own under its id."""
    return {key if "." in key else f"{point.defense}.{key}": v for key, v in _parameters(run, point).items()}


def _parameters(run: RunFolder, point: PlannedPoint) -> dict[str, Any]:
    return next((record.defense_params for record in quality_records(run, point)), {})


def _evaluations(run: RunFolder, point: PlannedPoint) -> dict[int, float]:
    found = aggregate(quality_records(run, point), EVALUATIONS)
    return {seed: one.value for seed, one in found.by_seed.items()} if found else {}


def _seconds(run: RunFolder, point: PlannedPoint) -> list[float]:
    found = (record.run.timings.get("train_last") for record in quality_records(run, point))
    return [float(value) for value in found if isinstance(value, int | float)]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
