"""Exposure: leakage by class, and the members that the strongest attack at DENOISER finds first.

Members of a class are compared with nonmembers of the same class, with the sign that all calibration images asked for.
Implementation choices: over seeds the p value of "as the other classes" is the largest of the seeds', each adjusted by
Holm; a member's one-image false-positive rate is the mean over the seeds. Members are named by their row in the data
set, never shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import ByClass, by_class, exposed

from .aggregate import Aggregate
from .leakage import join_names
from .points import find_reference
from .scores import load_groups, load_scores, same_computation
from .strongest import representative_points, strongest_by_image

LEVEL = "DENOISER"
FIRST = 5  # members that are named
SHOWN = 0.05
MANY = 20  # classes: of more, a table names those that differ


@dataclass(frozen=True)
class ClassLeakage:
    """A class: its AUC, images on either side, and the adjusted p value of "as the others", if there are others."""

    label: int
    auc: Aggregate
    members: int
    nonmembers: int
    p: float | None

    @property
    def differs(self) -> bool:
        """True if it was shown to leak differently from the other classes."""
        return self.p is not None and self.p < SHOWN


@dataclass(frozen=True)
class Exposure:
    """A point: its classes, and of its members the row in the data set with the one-image false-positive rate."""

    point: PlannedPoint
    attack: str
    classes: list[ClassLeakage]
    left_out: int
    members: list[tuple[int, float]]
    unrivalled: int  # members above every nonmember at every seed
    nonmembers: int
    tied: bool  # all members have one score, at every seed: none is more exposed than another


def list_exposures(run: RunFolder) -> list[Exposure]:
    """Exposures without protection and at each defense's least copying, unless the numbers are the same there."""
    shown = [point for point in representative_points(run) if point.role != "control" and not _repeated(run, point)]
    found = [_exposure(run, point) for point in shown]
    return [one for one in found if one is not None]


def _repeated(run: RunFolder, point: PlannedPoint) -> bool:
    start = find_reference(run, point)
    if start is None or start == point:
        return False
    before, after = strongest_by_image(run, start, LEVEL), strongest_by_image(run, point, LEVEL)
    return before.keys() == after.keys() and all(same_computation(before[seed], after[seed]) for seed in after)


def _exposure(run: RunFolder, point: PlannedPoint) -> Exposure | None:
    records = strongest_by_image(run, point, LEVEL)
    grouped = {seed: one for seed, record in records.items() if (one := _by_class(run, record)) is not None}
    ranked = _ranked(run, list(records.values()))
    if not grouped and not ranked:
        return None
    names = join_names(list(records.values()))
    left_out = max((one.left_out for one in grouped.values()), default=0)
    first = sum(rate == 0 for _, rate in ranked)
    compared = [sides for record in records.values() if (sides := load_scores(run, record)) is not None]
    tied = all((member == member[0]).all() for member, _ in compared)
    nonmembers = min(nonmember.size for _, nonmember in compared)
    return Exposure(point, names, _classes(grouped), left_out, ranked[:FIRST], first, nonmembers, tied)


def _by_class(run: RunFolder, record: Record) -> ByClass | None:
    sides, arrays = load_scores(run, record), run.arrays(record)
    if sides is None or any(name not in arrays for name in ("member_labels", "nonmember_labels")):
        return None
    labels = arrays["member_labels"], arrays["nonmember_labels"]
    return by_class(sides[0], labels[0], sides[1], labels[1], groups=load_groups(run, record))


def _classes(grouped: dict[int, ByClass]) -> list[ClassLeakage]:
    """Classes that each of the seeds could judge, over the seeds."""
    each = {seed: {one.label: one for one in found.classes} for seed, found in grouped.items()}
    shared = set.intersection(*(set(found) for found in each.values())) if each else set()
    found = []
    for label in sorted(shared):
        ones = {seed: of[label] for seed, of in each.items()}
        p = [one.adjusted for one in ones.values() if one.adjusted is not None]
        first = next(iter(ones.values()))
        auc = Aggregate("auc", {seed: one.auc for seed, one in ones.items()})
        found.append(ClassLeakage(label, auc, first.members, first.nonmembers, max(p) if len(p) == len(ones) else None))
    return found


def _ranked(run: RunFolder, records: list[Record]) -> list[tuple[int, float]]:
    """Each member's row in the data set and mean one-image false-positive rate, the most exposed first; of equals the
    one that ranks higher, on average over the seeds."""
    found: dict[int, list[tuple[float, int]]] = {}
    for record in records:
        sides, rows = load_scores(run, record), run.arrays(record).get("member_rows")
        if sides is None or rows is None or len(rows) != len(sides[0]):
            continue
        for rank, one in enumerate(exposed(*sides, count=len(sides[0]))):
            found.setdefault(int(rows[one.position]), []).append((one.false_positive_rate, rank))
    every = {row: seeds for row, seeds in found.items() if len(seeds) == len(records)}
    order = sorted(every, key=lambda row: (*(sum(side) for side in zip(*every[row], strict=True)), row))
    return [(row, sum(rate for rate, _ in every[row]) / len(records)) for row in order]
