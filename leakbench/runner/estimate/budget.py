"""Finds how much smaller a suite has to be for a run to fit into so many minutes on this machine.

The factor is the largest for which the estimate stays within `_FORESEEN` of the minutes (choices of ours: that share,
two significant digits, and that [small] is taken where the suite as written would leave less than one in `_LEAST` of
its steps). A folder that holds a run of the same budget keeps that run's factor, whatever the machine does today.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.estimate.time_estimate import TimeEstimate
from leakbench.runner.plan import Plan
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import Budget, Suite, load

_FORESEEN = 0.8  # of the minutes: an estimate is one
_LEAST = 500
_HALVINGS = 12


def within(name: str, overrides: tuple[str, ...], minutes: float, config: RunConfig, workers: int) -> RunInputs:
    """The inputs of the suite that fits. Raises UsageError where not even the least suite does."""
    written, kept = load(name, overrides), _kept(config.out, minutes)
    if kept is not None:
        return RunInputs(load(name, overrides, kept), config)
    seconds = minutes * 60 * _FORESEEN
    estimate = TimeEstimate()
    small = bool(written.file.small) and _hopeless(RunInputs(written, config), estimate, seconds * workers)
    if small:
        estimate = TimeEstimate()  # of another network

    def suite(factor: float) -> Suite:
        return load(name, overrides, Budget(minutes, factor, small))

    inputs = RunInputs(suite(1.0), config)
    _ = inputs.split

    def takes(factor: float) -> float:
        other = ReleaseBuilder(inputs.with_suite(suite(factor)))
        return estimate.seconds(other.inputs, Plan(other, "all").cells, workers)

    return inputs.with_suite(suite(_largest(takes, seconds, minutes, written.file.name)))


def _largest(takes: Any, seconds: float, minutes: float, suite: str) -> float:
    """The largest factor, two significant digits, that takes no more than so many seconds."""
    if takes(1.0) <= seconds:
        return 1.0
    least = takes(0.0)
    if least > seconds:
        needed = math.ceil(least / 60 / _FORESEEN)
        raise UsageError(
            f"--budget {minutes:g}: suite {suite!r} takes about {needed} minutes here at its least steps and samples; "
            f"give at least --budget {needed}, or attack fewer images (--set split.members=...)"
        )
    low, high = -6.0, 0.0  # powers of ten
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if takes(10**middle) <= seconds else (low, middle)
    digits = 10 ** (math.floor(low) - 1)
    return float(f"{math.floor(10**low / digits) * digits:.2g}")


def _hopeless(inputs: RunInputs, estimate: TimeEstimate, seconds: float) -> bool:
    """Whether the suite as written would leave too few steps: by its training alone, which needs no split."""
    chains = {point.chain[: i + 1] for point in inputs.suite.points for i in range(len(point.chain))}
    last = [chain[-1].defense for chain in chains]
    evaluations = sum(defense.cost().plain_training for defense in last)
    total = evaluations * estimate.pace(inputs, "none").training / 3
    return total * len(inputs.suite.file.seeds) / _LEAST > seconds


def _kept(out: Path, minutes: float) -> Budget | None:
    """What a run of the same budget in this folder was scaled by."""
    try:
        found = json.loads((out / "plan.json").read_text()).get("budget")
        budget = Budget(float(found["minutes"]), float(found["factor"]), bool(found["small"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return replace(budget, changes=()) if budget.minutes == minutes else None
