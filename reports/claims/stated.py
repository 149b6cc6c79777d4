"""Claims on what a release states of itself: `attack = "guarantee"`, with an epsilon whose name says of whom it is.

Metrics are `epsilon_by_image` and `epsilon_by_group`, for all images of a person together, so that no claim on the one
is ever judged by the other. A stated epsilon has no interval, and nothing in a run proves it: what a run can do is to
refute it (`epsilon-above-guarantee`). Then it bears no claim, and one that the bound itself exceeds is broken.
"""

from __future__ import annotations

from typing import Final, Literal

from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.auditing import list_audits
from ..reading.guarantees import StatedGuarantee, epsilon_by, find_guarantee

GUARANTEE: Final = "guarantee"
STATED: Final[dict[str, Literal["image", "group"]]] = {"epsilon_by_image": "image", "epsilon_by_group": "group"}


def find_stated(run: RunFolder, point: PlannedPoint, metric: str) -> tuple[list[float], str]:
    """The epsilons that a point states by the unit of a metric, of each seed that states another, and what stands
    beside them in words; without any, the reason for that."""
    guarantee, unit = find_guarantee(run, point), STATED[metric]
    if not guarantee.found:
        return [], f"{point.name} states no guarantee"
    if guarantee.void:
        return [], f"{point.name} states none any longer: {guarantee.void}"
    found = [epsilon for stated in guarantee.found if (epsilon := epsilon_by(stated, unit)) is not None]
    if len(found) < len(guarantee.found):
        return [], f"{point.name} states no epsilon by {unit}"
    return found, _beside(guarantee)


def find_refutation(run: RunFolder, point: PlannedPoint, metric: str) -> tuple[float, str] | None:
    """Where an audit shows more than a point states: the least that the epsilon of a metric is by it, in 95 of 100
    runs, and that in words; None where no audit does. All images of a person lose at least what one of them does, so
    that a bound by image is one by person as well."""
    refuting = [audit for audit in list_audits(run) if audit.point == point and audit.exceeded]
    if not refuting:
        return None
    speaking = [audit for audit in refuting if audit.unit in ("image", STATED[metric])]
    bound, attack = max(((max(audit.values("epsilon_lower")), audit.attack) for audit in speaking), default=(0.0, ""))
    shown = f": at least {bound:.3g}" if speaking else ""
    named = attack or refuting[0].attack
    return bound, f"{Flag.EPSILON_ABOVE_GUARANTEE.value}: {named} shows more than {point.name} states{shown}"


def _beside(guarantee: StatedGuarantee) -> str:
    """ "at delta 0.0016, zero-out"."""
    deltas = dict.fromkeys(f"{stated['delta']:.3g}" for stated in guarantee.found if "delta" in stated)
    words = [f"at delta {' / '.join(deltas)}" if deltas else "", guarantee.adjacency, guarantee.beside]
    return ", ".join(filter(None, words))
