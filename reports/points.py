"""The points of the trade-off (a defense with its swept parameters), and which records speak for each.

"Strongest at an access level" is chosen seed by seed among the membership attacks that need that level or less, by the
largest |calibration_auc - 1/2|: on calibration images, so that the reported ones stay untouched by the choice.
Two-sided like the verdicts; equals go to the first name. An attack without `calibration_auc` takes part only if it
stands alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leakbench.results.record import QUALITY, Record
from leakbench.results.run_folder import RunFolder

from .entries import methods
from .measured import measure

ACCESS = ("NONE", "SAMPLES", "API", "DENOISER", "WEIGHTS")  # each includes those before it
LEVELS = ("DENOISER", "WEIGHTS")  # those at which the trade-off is read
COPY_COLUMNS = 2


@dataclass(frozen=True)
class Point:
    """A point of the plan; `role` is "baseline", "defense" or "control".

    `defense` is the id in the suite; `chain` names the methods, from the one that trains the network to the outermost.
    """

    name: str
    defense: str
    role: str
    chain: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()  # ids, from the one that trains the network upwards

    @property
    def method(self) -> str:
        """The outermost method: several ids may share one. The id itself, where a plan says nothing of methods."""
        return self.chain[-1] if self.chain else self.defense


def points(run: RunFolder) -> list[Point]:
    """All points, in the order of the suite."""
    return [
        Point(planned.point, planned.defense, planned.role, planned.chain, planned.bases) for planned in run.plan.points
    ]


def unprotected(run: RunFolder) -> Point | None:
    """What the defenses are compared with: the baseline, or else the first point that is no control."""
    ranked = sorted((p for p in points(run) if p.role != "control"), key=lambda p: p.role != "baseline")
    return ranked[0] if ranked else None


def reference(run: RunFolder, point: Point) -> Point | None:
    """What one point is compared with: a baseline with itself, and what builds on baselines with the uppermost (a suite
    may have several, conditioned on different things); else `unprotected`."""
    for own in (point.defense,) if point.role == "baseline" else reversed(point.bases):
        if found := [p for p in points(run) if p.role == "baseline" and p.defense == own]:
            return found[0] if len(found) == 1 else unprotected(run)
    return unprotected(run)


def sweeps(run: RunFolder) -> dict[str, list[Point]]:
    """The points of each defense, in the order of its sweep; baseline and controls are none."""
    found: dict[str, list[Point]] = {}
    reference = unprotected(run)
    for point in points(run):
        if point.role == "defense" and point != reference:
            found.setdefault(point.defense, []).append(point)
    return found


def records_at(run: RunFolder, point: Point, family: str, attack: str = "", access: str = "") -> list[Record]:
    """The records of a family at a point, narrowed to an attack and an access level where these are given."""
    return [
        r
        for r in run.records
        if r.point == point.name and r.family == family and attack in ("", r.attack) and access in ("", r.access)
    ]


def quality(run: RunFolder, point: Point) -> list[Record]:
    """The quality records of a point, one a seed."""
    return records_at(run, point, "quality", attack=QUALITY)


def copy_attacks(run: RunFolder) -> dict[str, str]:
    """The attacks by which tables and figures read copying, at most two, and what they are called there: by features,
    or by name if two share. Nearest copies come first, in pixels and then in the suite's features."""
    found = {r.attack: r.features for r in run.records if r.metric("copy_rate_excess") is not None}
    suites = {record.features for record in run.records if record.attack == QUALITY}
    method = methods(run)

    def place(attack: str) -> tuple[bool, bool, bool, str]:
        nearest = method.get(attack, attack).startswith("nearest_copy")
        return not nearest, found[attack] != "pixels", found[attack] not in suites, attack

    shown = {attack: found[attack] for attack in sorted(found, key=place)[:COPY_COLUMNS]}
    names = list(shown.values())
    return {attack: f if f and names.count(f) == 1 else attack for attack, f in shown.items()}


def strongest(
    run: RunFolder, point: Point, level: str, among: Callable[[Record], bool] = lambda record: True
) -> dict[int, Record]:
    """The record of the strongest membership attack at an access level, for each seed that has one.

    `among` narrows the choice. An attack that is not applicable has no metrics, and takes no part.
    """
    allowed = ACCESS[: ACCESS.index(level) + 1]
    found: dict[int, list[Record]] = {}
    for record in records_at(run, point, "membership"):
        if record.access in allowed and record.metrics and among(record):
            found.setdefault(record.seed, []).append(record)
    chosen = {seed: _strongest(records) for seed, records in sorted(found.items())}
    return {seed: record for seed, record in chosen.items() if record is not None}


def _strongest(records: list[Record]) -> Record | None:
    calibrated = [r for r in records if calibration_strength(r) is not None]
    if not calibrated:
        return records[0] if len(records) == 1 else None
    return min(calibrated, key=lambda r: (-(calibration_strength(r) or 0.0), r.attack, -ACCESS.index(r.access)))


def calibration_strength(record: Record) -> float | None:
    """|calibration_auc - 1/2|, rounded lest float noise decides between an attack and its mirror image."""
    metric = record.metric("calibration_auc")
    return None if metric is None or metric.value is None else round(abs(metric.value - 0.5), 12)


def most_protective(run: RunFolder, sweep: list[Point]) -> Point:
    """The point of a sweep with the least copying (mean excess, summed over the attacks that measure it).

    Without such attacks the one whose strongest attack at DENOISER is closest to 1/2; equals go to the first.
    """
    return min(sweep, key=lambda point: (*_copying(run, point), _leakage(run, point)))


def few(run: RunFolder) -> list[Point]:
    """The points where all would be too many: no protection, each defense at its least copying, the controls."""
    reference = unprotected(run)
    chosen = [most_protective(run, sweep) for sweep in sweeps(run).values()]
    controls = [p for p in points(run) if p.role == "control"]
    return [*([reference] if reference else []), *chosen, *controls]


def _copying(run: RunFolder, point: Point) -> tuple[int, float]:
    found = [measure(records_at(run, point, "replication", a), "copy_rate_excess") for a in copy_attacks(run)]
    return sum(m is None for m in found), sum(m.summary.mean for m in found if m is not None)


def _leakage(run: RunFolder, point: Point) -> float:
    found = measure(strongest(run, point, "DENOISER").values(), "auc")
    return abs(found.summary.mean - 0.5) if found else 1.0
