"""Finds how much smaller a suite has to be for a run to fit into so many minutes on this machine.

First the rows are chosen that the minutes buy (leakbench.runner.estimate.rows). The factor is the largest for which the
estimate of these stays within `_FORESEEN` of the minutes (choices of ours: that share, two significant digits, and that
[small] is used where the suite as written would be left with less than one in `_LEAST` of its steps). A folder that
holds a run of the same budget keeps that run's rows and factor, whatever the machine does today.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.estimate.rows import choose_rows
from leakbench.runner.estimate.time_estimate import TimeEstimate
from leakbench.runner.estimate.timing import UnitTimes
from leakbench.runner.plan import Plan
from leakbench.runtime.errors import UsageError
from leakbench.suite.budget import Budget, EmptyRow
from leakbench.suite.load import load
from leakbench.suite.small import Small, read_small
from leakbench.suite.suite import Suite

_FORESEEN = 0.8  # of the minutes: an estimate is one
_LEAST = 10
_HALVINGS = 12


def fit_to_budget(inputs: RunInputs, name: str, overrides: tuple[str, ...], minutes: float, workers: int) -> Suite:
    """The version of a suite that fits. Raises UsageError where not even the least does.

    inputs: those of the suite as written; versions share the data, and the split where it is the same.
    """
    if (kept := _read_budget(inputs.config.out, minutes)) is not None:
        return load(name, overrides, kept)
    seconds = minutes * 60 * _FORESEEN
    small = bool(inputs.suite.file.small) and _is_hopeless(inputs, seconds * workers)

    def scale(factor: float, left_out: tuple[EmptyRow, ...] = (), enough: int | None = None) -> Suite:
        return load(name, overrides, Budget(minutes, factor, small, left_out, enough))

    whole = inputs.with_suite(scale(1.0))
    _ = whole.split  # which the estimate counts, if it has to be drawn
    estimate = TimeEstimate(whole)

    def takes(factor: float, left_out: frozenset[str]) -> float:
        rows = tuple(EmptyRow(row, {}) for row in left_out)
        version = ReleaseBuilder(whole.with_suite(scale(factor, rows)))
        return estimate.seconds(version.inputs, Plan(version, "all").cells, workers)

    file = inputs.suite.file
    left_out, enough = choose_rows(
        whole.suite,
        read_small(file, f"suite {file.name!r}") if small else Small(),
        lambda rows: takes(0.0, rows),
        seconds,
        _to_minutes,
    )
    gone = frozenset(row.row for row in left_out)
    factor = _find_factor(lambda factor: takes(factor, gone), seconds, minutes, file.name, enough)
    return scale(factor, left_out, enough)


def _to_minutes(seconds: float) -> int:
    """The budget that is enough for a run that takes so many seconds."""
    return math.ceil(seconds / 60 / _FORESEEN)


def _find_factor(
    takes: Callable[[float], float], seconds: float, minutes: float, suite: str, enough: int | None
) -> float:
    """The largest factor, two significant digits, that takes no more than so many seconds. enough: minutes that buy the
    rows that are left out, for the error."""
    if takes(1.0) <= seconds:
        return 1.0
    least = takes(0.0)
    if least > seconds:
        needed = _to_minutes(least)
        raise UsageError(
            f"--budget {minutes:g}: suite {suite!r} takes about {needed} minutes here at its least steps and samples"
            f"{f' (with all its rows: {enough})' if enough else ''}; give at least --budget {needed}, or attack fewer "
            "images (--set split.members=...)"
        )
    low, high = -6.0, 0.0  # powers of ten
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if takes(10**middle) <= seconds else (low, middle)
    digits = 10 ** (math.floor(low) - 1)
    return float(f"{math.floor(10**low / digits) * digits:.2g}")


def _is_hopeless(inputs: RunInputs, seconds: float) -> bool:
    """True if the suite as written would be left with too few steps: by its training alone, which needs no split."""
    suite = inputs.suite
    chains = {point.chain[: i + 1] for point in suite.points for i in range(len(point.chain))}
    evaluations = sum(chain[-1].defense.cost().plain_training for chain in chains)
    total = evaluations * UnitTimes(inputs).network("none").training / 3
    return total * len(suite.file.seeds) / _LEAST > seconds


def _read_budget(out: Path, minutes: float) -> Budget | None:
    """The scaling of a run of the same budget in this folder, or None."""
    try:
        found = json.loads((out / "plan.json").read_text()).get("budget")
        empty = tuple(
            EmptyRow(row["row"], row["least"], row["minutes"], row["reason"]) for row in found.get("empty", ())
        )
        small, enough = bool(found["small"]), found.get("enough")
        budget = Budget(float(found["minutes"]), float(found["factor"]), small, empty, enough)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return budget if budget.minutes == minutes else None
