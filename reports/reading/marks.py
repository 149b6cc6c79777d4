"""Points whose row means nothing: a defense that changed nothing here, a model that learned nothing.

Such a point never wins, and nothing is said to have fallen at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .distances import distance_name, heldout_distance
from .formatting import format_distance
from .selection import quality_records

_ANSWERS = ("SAMPLES", "API", "DENOISER")  # at WEIGHTS a sampling-time defense is its base by design


@dataclass(frozen=True)
class Mark:
    """A flag for every row of a point, and a sentence for people."""

    flag: Flag
    words: str


def find_marks(run: RunFolder, point: str) -> tuple[Mark, ...]:
    """The marks of a point, by its name; empty where its row means something."""
    return _marks_by_point(run.whole).get(point, ())


def format_marks(run: RunFolder, point: str) -> str:
    """The marks of a point as they stand behind its name: " (inert)"; empty without any."""
    marks = find_marks(run, point)
    return f" ({', '.join(mark.flag.value for mark in marks)})" if marks else ""


@cache_on_run()
def _marks_by_point(run: RunFolder) -> dict[str, tuple[Mark, ...]]:
    found = {}
    for point in run.plan.points:
        marks = (_find_inert(run, point), _find_untrained(run, point)) if point.role != "control" else ()
        found[point.name] = tuple(mark for mark in marks if mark is not None)
    return found


def _find_inert(run: RunFolder, point: PlannedPoint) -> Mark | None:
    """The mark of a point whose answers and samples are those of a point that its defense stands on, bit for bit.

    Scores and features of samples stand for them: they are equal to the last bit, seed by seed.
    """
    if not point.bases:
        return None
    for base in (p for p in run.plan.points if p.defense == point.bases[-1]):
        if _answers_alike(run, point, base):
            return Mark(
                Flag.INERT, f"its answers and samples are those of {base.name} bit for bit{_reason(run, point)}"
            )
    return None


def _answers_alike(run: RunFolder, point: PlannedPoint, base: PlannedPoint) -> bool:
    own, its = _answer_records(run, point), _answer_records(run, base)
    shared = own.keys() & its.keys()
    kinds = {own[key].family == "quality" for key in shared}
    return kinds == {True, False} and all(own[key].arrays == its[key].arrays for key in shared)


def _answer_records(run: RunFolder, point: PlannedPoint) -> dict[tuple[str, str, int], Record]:
    """The records of what a point answers and draws, with scores or features kept, by attack, access and seed."""
    return {
        (r.attack, r.access, r.seed): r
        for r in run.records
        if r.point == point.name and r.arrays and (r.access in _ANSWERS or r.family == "quality")
    }


def _reason(run: RunFolder, point: PlannedPoint) -> str:
    """The reason that the defense itself tells, where it has a gate."""
    gates = [r.info.get("defense", {}).get("gate_rate_by_t") for r in quality_records(run, point)]
    if gates and all(gate and not any(gate.values()) for gate in gates):
        return f": its gate opened in 0 of {len(gates[0])} steps"
    return ""


def _find_untrained(run: RunFolder, point: PlannedPoint) -> Mark | None:
    """The mark of a point whose interval of the distance to held-out images does not lie below the untrained one's."""
    own = heldout_distance(run, point)
    for control in (p for p in run.plan.points if p.method == "untrained"):
        its = heldout_distance(run, control)
        if own is None or its is None or isnan(own.summary.high) or isnan(its.summary.low):
            continue
        if own.summary.high >= its.summary.low:
            name = distance_name(run)
            return Mark(
                Flag.AS_UNTRAINED,
                f"{name} {format_distance(own)}, not shown to be nearer to held-out images than an untrained network's "
                f"({format_distance(its)})",
            )
    return None
