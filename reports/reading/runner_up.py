"""Comparison of the strongest attack with those next to it, by DeLong's paired differences.

Attacks are ranked on calibration images (mean over the seeds) and compared on the reported ones, with the signs that
calibration asked for. Choices of ours: the strongest is compared with the three next to it; over seeds the p value is
the largest of the seeds', and Holm's correction is over all comparisons of the run; intervals are each one's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leakbench.results.record import ACCESS_LEVELS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate
from .attack_ranking import baseline_points, calibrated_strength, rank_on_calibration
from .attack_results import AttackResult, adjust_p_values
from .formatting import format_ci, format_p
from .points import TRADEOFF_LEVELS
from .scores import compare_paired

NEXT = 3
SHOWN = 0.05


@dataclass(frozen=True)
class RunnerUp:
    """AUC of the strongest attack minus that of `name`; `p` of "equally strong at some seed", adjusted."""

    point: str
    strongest: str
    name: str
    difference: Aggregate
    p: float

    @property
    def words(self) -> str:
        """The comparison in one line, with no more than it shows."""
        summary = self.difference.summary
        apart = summary.low > 0 or summary.high < 0
        stronger = "stronger on the reported images" if summary.high < 0 else "weaker"
        verdict = stronger if apart and self.p < SHOWN else "not shown to differ"
        return f"{self.name} {verdict} ({format_ci(summary, 3)}, p {format_p(self.p)})"


def list_runners_up(run: RunFolder) -> list[RunnerUp]:
    """At each point without protection and each access level; what a lower level compared already is not repeated."""
    found: dict[tuple[str, str, str], RunnerUp] = {}
    for point in baseline_points(run):
        for level in TRADEOFF_LEVELS:
            for rival in _at(run, point, level):
                found.setdefault((rival.point, rival.strongest, rival.name), rival)
    after = adjust_p_values([rival.p for rival in found.values()])
    return [replace(rival, p=p) for rival, p in zip(found.values(), after, strict=True) if p is not None]


def format_runners_up(run: RunFolder) -> list[str]:
    """A line a point and strongest attack."""
    found: dict[tuple[str, str], list[str]] = {}
    for rival in list_runners_up(run):
        found.setdefault((rival.point, rival.strongest), []).append(rival.words)
    return [f"**{point}**, {strongest} against: {'; '.join(words)}" for (point, strongest), words in found.items()]


def _at(run: RunFolder, point: PlannedPoint, level: str) -> list[RunnerUp]:
    allowed = ACCESS_LEVELS[: ACCESS_LEVELS.index(level) + 1]
    rows = [row for row in rank_on_calibration(run, point) if row.access in allowed and calibrated_strength(row) >= 0]
    ranked = sorted(rows, key=lambda row: (-calibrated_strength(row), row.attack))
    compared = [_rival(run, ranked[0], other) for other in ranked[1 : NEXT + 1]]
    return [rival for rival in compared if rival is not None]


def _rival(run: RunFolder, first: AttackResult, second: AttackResult) -> RunnerUp | None:
    others = {record.seed: record for record in second.records}
    pairs = {r.seed: compare_paired(run, r, others[r.seed]) for r in first.records if r.seed in others}
    found = {seed: pair for seed, pair in sorted(pairs.items()) if pair is not None}
    if not found:
        return None
    difference = Aggregate("difference", {seed: pair.difference for seed, pair in found.items()})
    p = max(pair.p_value for pair in found.values())
    return RunnerUp(first.point.name, first.attack, second.attack, difference, p)
