"""What a defense moved, in words: copying, membership, and the distance to held-out data.

A quantity "moved" from one point to another only if the two intervals have nothing in common: stricter than a test of
the difference. The rest is "not shown to move".
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary

from .measured import leakage, measure, summary_of
from .points import LEVELS, Point, copy_attacks, quality, records_at, reference, strongest, sweeps
from .tradeoff import distance_name
from .words import bracket, distance, listed, percent


@dataclass(frozen=True)
class Change:
    """One quantity from no protection to a point of a defense; `kind` is "fell", "rose" or "" (not shown to move)."""

    kind: str
    words: str


@dataclass(frozen=True)
class Effect:
    """What a point of a defense changed: copying by each attack, membership, distance to held-out data."""

    reference: Point
    point: Point
    membership: list[Change]
    copying: list[Change]
    quality: Change

    @property
    def conclusion(self) -> str:
        """Both directions of the trade, and no more than was shown."""
        moved = {
            "rose": "rose (samples moved away from real data)",
            "fell": "fell (samples moved towards real data)",
            "": "was not shown to move, which does not show that quality is unharmed",
        }[self.quality.kind]
        return f"Copying {self._copying}; the distance to held-out data {moved}."

    @property
    def _copying(self) -> str:
        """By how many of the measures it fell or rose, where they do not all say the same."""
        kinds = [change.kind for change in self.copying]
        if len(set(kinds)) <= 1:
            return (kinds or [""])[0] or "was not shown to move"
        counts = [(kind, kinds.count(kind)) for kind in ("fell", "rose") if kind in kinds]
        return listed([f"{kind} by {n} of {len(kinds)} measures" for kind, n in counts])


def effects(run: RunFolder) -> list[Effect]:
    """One for each point of each defense, none picked; empty where there is nothing to compare with."""
    swept = [point for sweep in sweeps(run).values() for point in sweep]
    return [_effect(run, before, point) for point in swept if (before := reference(run, point)) is not None]


def _effect(run: RunFolder, reference: Point, point: Point) -> Effect:
    copying = [_copying(run, attack, label, reference, point) for attack, label in copy_attacks(run).items()]
    before, after = (summary_of(measure(quality(run, p), "frechet_heldout")) for p in (reference, point))
    title, texts = f"{distance_name(run)} (held-out)", (distance(before), distance(after))
    membership = [_leaking(run, level, reference, point) for level in LEVELS]
    return Effect(reference, point, membership, copying, change(title, before, after, texts))


def _leaking(run: RunFolder, level: str, reference: Point, point: Point) -> Change:
    found = [leakage(strongest(run, p, level).values(), "auc") for p in (reference, point)]
    before, after = (summary_of(measured) for measured in found)
    return change(f"AUC of the strongest attack at {level}", before, after, (bracket(before), bracket(after)))


def _copying(run: RunFolder, attack: str, label: str, reference: Point, point: Point) -> Change:
    found = [records_at(run, p, "replication", attack) for p in (reference, point)]
    before, after = (summary_of(measure(records, "copy_rate_excess")) for records in found)
    return change(f"copying beyond its null ({label})", before, after, (percent(before), percent(after)))


def change(what: str, before: Summary | None, after: Summary | None, texts: tuple[str, str]) -> Change:
    """Compares two intervals; `texts` are the numbers as they are to be printed."""
    if before is None or after is None:
        return Change("", f"{what}: not measured on both sides")
    kind = "fell" if after.high < before.low else "rose" if after.low > before.high else ""
    verb = kind or "was not shown to move beyond the intervals:"
    return Change(kind, f"{what} {verb} from {texts[0]} to {texts[1]}")
