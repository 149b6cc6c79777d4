"""What the numbers say in words: verdicts, what a defense moved, and how far protected answers differ from the weights.

A quantity "moved" from one point to another only if the two intervals have nothing in common: stricter than a test of
the difference. The rest is "not shown to move".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

from leakbench.records import Record, RunFolder
from leakbench.statistics import Estimate, Summary, delong_pair, finite, verdict

from .measured import Measured, estimate, leakage, measure, summary_of
from .points import LEVELS, Point, copy_attacks, points, quality, records_at, reference, strongest, sweeps
from .tradeoff import Leak, distance_name
from .words import bracket, distance, listed, percent

SCORES = ("member_scores", "nonmember_scores")


def judge(leak: Leak) -> str:
    """The two-sided verdict on the strongest attack; where seeds disagree, each seed's own."""
    if leak.auc is None:
        return "nothing to judge: no membership attack was run, or none has a calibration AUC to be chosen by"
    each = {seed: verdict_of(found) for seed, found in leak.auc.by_seed.items()}
    summary = leak.auc.summary
    n = min(found.n for found in leak.auc.by_seed.values())
    kind, words = verdict_of(Estimate(summary.mean, summary.low, summary.high, n))
    if all(found[0] == kind for found in each.values()):
        return words
    return "seeds disagree: " + "; ".join(f"seed {seed}: {found[1]}" for seed, found in each.items())


def verdict_of(auc: Estimate) -> tuple[str, str]:
    """Kind and words; without an interval there is no verdict."""
    if isnan(auc.low) or auc.n < 1:
        return "unknown", f"no interval, so no verdict: AUC {auc.value:.2f}"
    found = verdict(auc)
    return found.kind, found.words


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


@dataclass(frozen=True)
class Gap:
    """One attack against one release at both levels; `difference` is AUC at WEIGHTS minus AUC at DENOISER."""

    point: str
    attack: str
    denoiser: Summary
    weights: Summary
    difference: Summary


def gaps(run: RunFolder) -> list[Gap]:
    """Where the service answers otherwise than the raw network; elsewhere the two levels are one computation."""
    found = [_gap(run, p, attack) for p in points(run) for attack in _membership(run, p)]
    return [gap for gap in found if gap is not None]


def _membership(run: RunFolder, point: Point) -> list[str]:
    return sorted({r.attack for r in records_at(run, point, "membership", access="DENOISER")})


def _gap(run: RunFolder, point: Point, attack: str) -> Gap | None:
    sides = [records_at(run, point, "membership", attack, access) for access in ("DENOISER", "WEIGHTS")]
    answers, raw = ({r.seed: r for r in side} for side in sides)
    differing = [s for s in sorted(answers.keys() & raw.keys()) if not _same(answers[s], raw[s])]
    levels = [measure((side[s] for s in differing), "auc") for side in (answers, raw)]
    if levels[0] is None or levels[1] is None:
        return None
    differences = {s: _difference(run, raw[s], answers[s]) for s in levels[0].by_seed.keys() & levels[1].by_seed.keys()}
    if not differences:
        return None
    return Gap(point.name, attack, levels[0].summary, levels[1].summary, Measured("difference", differences).summary)


def _same(a: Record, b: Record) -> bool:
    return a.metrics == b.metrics and a.arrays == b.arrays


def _difference(run: RunFolder, a: Record, b: Record) -> Estimate:
    """Paired where the raw scores are there; otherwise the difference alone, without an interval."""
    scores = [run.arrays(record) for record in (a, b)]
    if all(name in arrays for arrays in scores for name in SCORES):
        member_a, nonmember_a, member_b, nonmember_b = (finite(arrays[name]) for arrays in scores for name in SCORES)
        return delong_pair(member_a, nonmember_a, member_b, nonmember_b).difference
    first, second = (estimate(record.metric("auc")) for record in (a, b))
    return Estimate(first.value - second.value, nan, nan, first.n) if first and second else Estimate(nan, nan, nan, 0)
