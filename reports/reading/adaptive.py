"""Defenses that their adaptive attack defeats: it knows how the defense works and finds what the others miss.

A defense is defeated where the adaptive attack leaks by its corrected interval, and finds more than every attack that
does not know the defense, at every seed. The adaptive attack of this test is the strongest of its kind on calibration
images, so the reported ones had no part in choosing it; that it lies above *all* the others needs no correction for
their number (`superiority.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .formatting import format_ci
from .leakage import Leak, collect_leak
from .strongest import allowed_records, chosen_on_calibration, strongest
from .superiority import SHOWN, shown_above


@dataclass(frozen=True)
class AdaptiveDefeat:
    """The attack that knows the defense, and the strongest of those that do not."""

    adaptive: Leak
    other: Leak

    @property
    def words(self) -> str:
        """The two attacks, with their AUCs."""
        ours, others = (format_ci(leak.auc) for leak in (self.adaptive, self.other))
        return f"{self.adaptive.attack} AUC {ours}; the strongest other attack, {self.other.attack}, {others}"


def defeat_by_adaptive(run: RunFolder, point: PlannedPoint, level: str) -> AdaptiveDefeat | None:
    """At an access level; None where no adaptive attack was run, or it was not shown to find more."""
    ours, others = (chosen_on_calibration(found) for found in _split(run, point, level))
    if not ours or not others or shown_above(run, *_split(run, point, level)) >= SHOWN:
        return None
    leak = collect_leak(run, ours.values())
    if leak.auc is None or not all(found.low > 0.5 for found in leak.auc.by_seed.values()):
        return None
    return AdaptiveDefeat(leak, collect_leak(run, strongest_other(run, point, level).values()))


def _split(run: RunFolder, point: PlannedPoint, level: str) -> tuple[list[Record], list[Record]]:
    """The records of the attacks that know the defense, and of the others."""
    found = allowed_records(run, point, level)
    return [r for r in found if r.adaptive], [r for r in found if not r.adaptive]


def strongest_adaptive(run: RunFolder, point: PlannedPoint, level: str) -> dict[int, Record]:
    """The strongest attack that knows the defense, for each seed."""
    return strongest(run, point, level, among=lambda record: record.adaptive)


def strongest_other(run: RunFolder, point: PlannedPoint, level: str) -> dict[int, Record]:
    """The strongest attack that does not, for each seed."""
    return strongest(run, point, level, among=lambda record: not record.adaptive)
