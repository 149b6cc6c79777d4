"""Copies at a point beyond what real images pass for: the finding that a verdict begins with.

Read are the attacks that the trade-off shows (`copy_attacks`, at most two), each by its own interval of 95 %: where one
of them lies above 0, the one with the largest lower bound speaks. So of releases that copy nothing at most 5 in 100 are
said to copy. What is counted are samples; copies rest on no split, so they stand where the track is void.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate
from .attack_results import AttackResult
from .formatting import format_percent
from .replication import list_copy_results
from .selection import copy_attacks


@dataclass(frozen=True)
class CopyFinding:
    """The attack that shows copies at a point, and what it counted: `excess` is `rate` less `null`."""

    attack: str
    access: str
    excess: Aggregate
    rate: Aggregate | None
    null: Aggregate | None

    @property
    def words(self) -> str:
        """The finding in one sentence."""
        counted = f"; {format_percent(self.rate)} of them pass for copies" if self.rate else ""
        null = f", {format_percent(self.null)} of real images that no one trained on" if counted and self.null else ""
        return f"copies training images: {format_percent(self.excess)} of its samples, beyond chance{counted}{null}"


def find_copies(run: RunFolder, point: PlannedPoint) -> CopyFinding | None:
    """What copies a release hands out; None where none are shown, or no attack on copies was run."""
    shown = [one for row in list_copy_results(run, point) if (one := _shown(run, row)) is not None]
    return max(shown, key=lambda one: one.excess.summary.low, default=None)


def _shown(run: RunFolder, row: AttackResult) -> CopyFinding | None:
    excess = row.aggregate(COPY_EXCESS)
    if row.attack not in copy_attacks(run) or excess is None or not excess.summary.low > 0:
        return None
    return CopyFinding(row.attack, row.access, excess, row.aggregate("copy_rate"), row.aggregate("copy_rate_null"))
