"""Defenses that their adaptive attack defeats: it knows how the defense works and finds what the others miss.

Both the adaptive attack and the other one are the strongest of their kind on calibration images. A defense is defeated
only where the adaptive attack leaks, and its AUC lies above the other's by DeLong's paired interval at every seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Summary

from .aggregate import Aggregate
from .formatting import format_ci
from .leakage import Leak, collect_leak
from .scores import compare_paired
from .strongest import strongest


@dataclass(frozen=True)
class AdaptiveDefeat:
    """`difference` is the AUC of `adaptive` minus that of `other`."""

    adaptive: Leak
    other: Leak
    difference: Summary

    @property
    def words(self) -> str:
        """The two attacks, with their AUCs."""
        ours, others = (format_ci(leak.auc) for leak in (self.adaptive, self.other))
        return f"{self.adaptive.attack} AUC {ours}; the strongest other attack, {self.other.attack}, {others}"


def defeat_by_adaptive(run: RunFolder, point: PlannedPoint, level: str) -> AdaptiveDefeat | None:
    """At an access level; None where no adaptive attack was run, or it was not shown to find more."""
    ours, others = strongest_adaptive(run, point, level), strongest_other(run, point, level)
    pairs = {seed: compare_paired(run, ours[seed], others[seed]) for seed in sorted(ours.keys() & others.keys())}
    differences = {seed: pair.difference for seed, pair in pairs.items() if pair is not None}
    leak = collect_leak(run, list(ours.values()))
    if not differences or leak.auc is None or not all(found.low > 0 for found in differences.values()):
        return None
    if not all(found.low > 0.5 for found in leak.auc.by_seed.values()):
        return None
    return AdaptiveDefeat(leak, collect_leak(run, list(others.values())), Aggregate("difference", differences).summary)


def strongest_adaptive(run: RunFolder, point: PlannedPoint, level: str) -> dict[int, Record]:
    """The strongest attack that knows the defense, for each seed."""
    return strongest(run, point, level, among=lambda record: record.adaptive)


def strongest_other(run: RunFolder, point: PlannedPoint, level: str) -> dict[int, Record]:
    """The strongest attack that does not, for each seed."""
    return strongest(run, point, level, among=lambda record: not record.adaptive)
