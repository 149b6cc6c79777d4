"""Whether the strongest attack is really stronger than those next to it: DeLong's paired differences.

Attacks are ranked on calibration images (mean over the seeds) and compared on the reported ones, with the signs that
calibration asked for. Choices of ours: the strongest is compared with the three next to it; over seeds the p value is
the largest of the seeds', and Holm's correction is over all comparisons of the run; intervals are each one's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leakbench.results.run_folder import RunFolder

from .attacks import strength, tried, unprotected_points
from .measured import Measured
from .points import ACCESS, LEVELS, Point
from .scores import paired
from .series import Series, adjusted
from .words import bracket, p_value

NEXT = 3
SHOWN = 0.05


@dataclass(frozen=True)
class Rival:
    """AUC of the strongest attack minus that of `name`; `p` of "equally strong at some seed", adjusted."""

    point: str
    strongest: str
    name: str
    difference: Measured
    p: float

    @property
    def words(self) -> str:
        """The comparison in one line, with no more than it shows."""
        summary = self.difference.summary
        apart = summary.low > 0 or summary.high < 0
        stronger = "stronger on the reported images" if summary.high < 0 else "weaker"
        verdict = stronger if apart and self.p < SHOWN else "not shown to differ"
        return f"{self.name} {verdict} ({bracket(summary, 3)}, p {p_value(self.p)})"


def rivals(run: RunFolder) -> list[Rival]:
    """At each point without protection and each access level; what a lower level compared already is not repeated."""
    found: dict[tuple[str, str, str], Rival] = {}
    for point in unprotected_points(run):
        for level in LEVELS:
            for rival in _at(run, point, level):
                found.setdefault((rival.point, rival.strongest, rival.name), rival)
    after = adjusted([rival.p for rival in found.values()])
    return [replace(rival, p=p) for rival, p in zip(found.values(), after, strict=True) if p is not None]


def rivals_text(run: RunFolder) -> list[str]:
    """A line a point and strongest attack."""
    found: dict[tuple[str, str], list[str]] = {}
    for rival in rivals(run):
        found.setdefault((rival.point, rival.strongest), []).append(rival.words)
    return [f"**{point}**, {strongest} against: {'; '.join(words)}" for (point, strongest), words in found.items()]


def _at(run: RunFolder, point: Point, level: str) -> list[Rival]:
    allowed = ACCESS[: ACCESS.index(level) + 1]
    rows = [row for row in tried(run, point) if row.access in allowed and strength(row) >= 0]
    ranked = sorted(rows, key=lambda row: (-strength(row), row.attack))
    compared = [_rival(run, ranked[0], other) for other in ranked[1 : NEXT + 1]]
    return [rival for rival in compared if rival is not None]


def _rival(run: RunFolder, first: Series, second: Series) -> Rival | None:
    others = {record.seed: record for record in second.records}
    pairs = {r.seed: paired(run, r, others[r.seed]) for r in first.records if r.seed in others}
    found = {seed: pair for seed, pair in sorted(pairs.items()) if pair is not None}
    if not found:
        return None
    difference = Measured("difference", {seed: pair.difference for seed, pair in found.items()})
    p = max(pair.p_value for pair in found.values())
    return Rival(first.point.name, first.attack, second.attack, difference, p)
