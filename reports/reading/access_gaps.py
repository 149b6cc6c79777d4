"""Gaps between protected answers and weights: an attack at both levels, where those are two computations."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Estimate, Summary

from .aggregate import Aggregate, aggregate_oriented
from .scores import compare_paired, same_computation
from .selection import select_records
from .strongest import calibration_strength


@dataclass(frozen=True)
class AccessGap:
    """An attack against one release at both levels; `difference` is AUC at WEIGHTS minus AUC at DENOISER."""

    point: str
    attack: str
    denoiser: Summary
    weights: Summary
    difference: Summary


@dataclass(frozen=True)
class _Level:
    """An attack's records at one level, by seed, and their AUCs."""

    records: dict[int, Record]
    aucs: Aggregate


def list_access_gaps(run: RunFolder) -> list[AccessGap]:
    """Gaps where the service answers differently from the raw network; elsewhere the two levels are one computation.

    Signs are those that the calibration images asked for at each level.
    """
    found = [_gap(run, p, attack) for p in run.plan.points for attack in _membership(run, p)]
    return [gap for gap in found if gap is not None]


def points_with_a_gap(run: RunFolder) -> set[str]:
    """Names of the points of `list_access_gaps`, without measuring the gaps."""
    return {p.name for p in run.plan.points if any(_both_levels(run, p, attack) for attack in _membership(run, p))}


def top_access_gaps(run: RunFolder, found: list[AccessGap], count: int = 3) -> list[AccessGap]:
    """Gaps of each point's `count` strongest attacks on calibration images, at either level."""
    kept: list[AccessGap] = []
    for point in run.plan.points:
        own = [gap for gap in found if gap.point == point.name]
        ranked = sorted(own, key=lambda gap: (-strength(run, point, gap.attack), gap.attack))
        kept += [gap for gap in own if gap in ranked[:count]]
    return kept


def strength(run: RunFolder, point: PlannedPoint, attack: str) -> float:
    """The largest |calibration AUC - 1/2| of an attack at a point."""
    found = select_records(run, point, "membership", attack)
    return max((calibration_strength(record) or 0.0 for record in found), default=0.0)


def _membership(run: RunFolder, point: PlannedPoint) -> list[str]:
    return sorted({r.attack for r in select_records(run, point, "membership", access="DENOISER")})


def _both_levels(run: RunFolder, point: PlannedPoint, attack: str) -> tuple[_Level, _Level] | None:
    """The seeds whose two levels are two computations; None where there is none."""
    sides = [select_records(run, point, "membership", attack, access) for access in ("DENOISER", "WEIGHTS")]
    answers, raw = ({r.seed: r for r in side} for side in sides)
    differing = [s for s in sorted(answers.keys() & raw.keys()) if not same_computation(answers[s], raw[s])]
    ours, theirs = (aggregate_oriented([side[s] for s in differing], "auc") for side in (answers, raw))
    if ours is None or theirs is None or not ours.by_seed.keys() & theirs.by_seed.keys():
        return None
    return _Level(answers, ours), _Level(raw, theirs)


def _gap(run: RunFolder, point: PlannedPoint, attack: str) -> AccessGap | None:
    levels = _both_levels(run, point, attack)
    if levels is None:
        return None
    answers, raw = levels
    values = answers.aucs.by_seed, raw.aucs.by_seed
    shared = sorted(values[0].keys() & values[1].keys())
    differences = {
        s: _difference(run, (raw.records[s], answers.records[s]), (values[1][s], values[0][s])) for s in shared
    }
    return AccessGap(
        point.name, attack, answers.aucs.summary, raw.aucs.summary, Aggregate("difference", differences).summary
    )


def _difference(run: RunFolder, records: tuple[Record, Record], aucs: tuple[Estimate, Estimate]) -> Estimate:
    """Paired where the raw scores are there; otherwise the difference alone, without an interval."""
    pair = compare_paired(run, *records)
    return pair.difference if pair else Estimate(aucs[0].value - aucs[1].value, nan, nan, aucs[0].n)
