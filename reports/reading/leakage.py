"""Leakage of a point at one access level: its strongest attack with AUC and headline TPR."""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .aggregate import Aggregate, aggregate_oriented


@dataclass(frozen=True)
class Leak:
    """The strongest attack at one access level: name (names, where seeds chose differently), AUC, headline TPR.

    Both have the sign that the calibration images asked for; "(inverted)" beside a name says that it is minus.
    """

    attack: str
    auc: Aggregate | None
    tpr: Aggregate | None


def collect_leak(run: RunFolder, records: list[Record]) -> Leak:
    """The leak that the chosen records of a point show, one record a seed."""
    names = sorted({r.attack + (" (inverted)" if Flag.INVERTED in r.flags else "") for r in records})
    headline = run.plan.headline
    return Leak(" / ".join(names), aggregate_oriented(records, "auc"), aggregate_oriented(records, headline))
