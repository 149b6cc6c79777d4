"""What was forgotten, what that did to the rest, and what it cost: a row a point, and a comparison at equal forgetting.

Choices of ours. A point has forgotten when the whole interval of its forget probability lies below 0.2, and the
baseline's above: what was never known cannot be forgotten. Costs are compared among points that have, each defense at
the point of its sweep that spent the fewest network evaluations, and only with those that started from the same base. A
ratio of distances is mean over mean; it has no interval. Only points that kept the rest are compared, at a retained
distance of 1.5 times the baseline's at most: wrecking a model is quick.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .costs import Cost, cost_of
from .measured import Measured, leakage, measure, ratio, summary_of
from .points import Point, points, quality, reference, strongest
from .tradeoff import distance_name
from .words import NOTHING, bracket, distance, listed, significant, times, told

FORGOTTEN = 0.2
KEPT = 1.5
YARDSTICK = "erasediff"  # the method that the others' costs are compared with
LEVEL = "DENOISER"


@dataclass(frozen=True)
class Forgetting:
    """A point: `probability` of the label that was to go, `real` that of real images of it, `retained` the distance on
    the other labels and `ratio` that to the baseline's; `auc` of the images to forget, by the strongest attack."""

    point: Point
    probability: Measured | None
    real: Measured | None
    retained: Measured | None
    ratio: float | None
    attack: str
    auc: Measured | None
    cost: Cost

    @property
    def forgotten(self) -> bool:
        """Whether the whole interval of the probability lies below 0.2."""
        return self.probability is not None and self.probability.summary.high < FORGOTTEN


def forgetting(run: RunFolder) -> list[Forgetting]:
    """A row a point whose samples were asked for what was to go; where none was (a subset is no label), a row a point
    whose attacks looked for it."""
    found = [_row(run, point) for point in points(run)]
    asked = [row for row in found if row.probability is not None]
    return asked or [row for row in found if row.auc is not None]


def _row(run: RunFolder, point: Point) -> Forgetting:
    start = reference(run, point)
    before = measure(quality(run, start), "frechet_retained") if start else None
    measured, attacks = quality(run, point), list(strongest(run, point, LEVEL).values())
    names = ("forget_probability", "forget_probability_real", "frechet_retained")
    probability, real, retained = (measure(measured, name) for name in names)
    change, auc = ratio(retained, before), leakage(attacks, "forget_auc")
    return Forgetting(point, probability, real, retained, change, _named(attacks), auc, cost_of(run, point))


def _named(attacks: list[Record]) -> str:
    return " / ".join(sorted({record.attack for record in attacks}))


def forgetting_text(run: RunFolder, found: list[Forgetting]) -> tuple[list[str], list[list[str]]]:
    """The rows as text: titles and cells, without columns that have nothing to say."""
    titles = ["point", "forget probability", "of real images", f"{distance_name(run)}, retained"]
    titles += ["to that of its baseline", f"forget-set AUC, strongest at {LEVEL}"]
    return told([*titles, "seconds, last step", "network evaluations, last step"], [_cells(row) for row in found])


def _cells(row: Forgetting) -> list[str]:
    probability, real, retained, auc = map(summary_of, (row.probability, row.real, row.retained, row.auc))
    return [
        *(row.point.name, bracket(probability), bracket(real), distance(retained)),
        NOTHING if row.ratio is None else times(row.ratio),
        f"{row.attack} {bracket(auc)}" if auc else NOTHING,
        *(NOTHING if row.cost.seconds is None else significant(row.cost.seconds), _evaluations(row.cost)),
    ]


def _evaluations(cost: Cost) -> str:
    if cost.evaluations is None:
        return NOTHING
    return f"{cost.evaluations:,.0f}" + (" (whole chain)" if cost.whole else "")


def known(run: RunFolder, found: list[Forgetting]) -> bool:
    """Whether the baseline makes what was to go: the whole interval of its probability lies above 0.2."""
    baselines = [row for row in found if row.point == reference(run, row.point) and row.probability is not None]
    return any(row.probability is not None and row.probability.summary.low > FORGOTTEN for row in baselines)


def verdicts(found: list[Forgetting]) -> tuple[list[str], list[str]]:
    """In words: which points of defenses have forgotten, and which have not."""
    judged = [row for row in found if row.probability is not None and row.point.role == "defense"]
    return [_verdict(row) for row in judged if row.forgotten], [row.point.name for row in judged if not row.forgotten]


def _verdict(row: Forgetting) -> str:
    assert row.probability is not None
    rest = "" if row.ratio is None else f" at {times(row.ratio)}"
    return f"{row.point.name} ({row.probability.summary.mean:.2f}{rest})"


@dataclass(frozen=True)
class Comparison:
    """The costs of the other defenses' points beside one point of the yardstick, in words."""

    point: Point
    spent: str
    others: list[str]


def comparisons(found: list[Forgetting]) -> list[Comparison]:
    """One for each id of the yardstick that has forgotten."""
    cheapest = _cheapest(found)
    return [
        Comparison(row.point, _spent(row.cost), [_beside(other, row) for other in cheapest if _comparable(other, row)])
        for row in cheapest
        if row.point.method == YARDSTICK
    ]


def _cheapest(found: list[Forgetting]) -> list[Forgetting]:
    """Each defense at the point that forgot with the fewest evaluations; the first of equals."""
    best: dict[str, Forgetting] = {}
    for row in found:
        kept = row.ratio is None or row.ratio <= KEPT
        if row.forgotten and kept and row.point.role == "defense" and row.cost.evaluations and not row.cost.whole:
            other = best.get(row.point.defense)
            if other is None or row.cost.evaluations < (other.cost.evaluations or 0):
                best[row.point.defense] = row
    return list(best.values())


def _comparable(row: Forgetting, yardstick: Forgetting) -> bool:
    same_base = row.cost.base is not None and row.cost.base == yardstick.cost.base
    return row is not yardstick and same_base


def _spent(cost: Cost) -> str:
    seconds = "" if cost.seconds is None else f", {significant(cost.seconds)} s"
    return f"{_evaluations(cost)} network evaluations{seconds}"


def _beside(row: Forgetting, yardstick: Forgetting) -> str:
    """Both directions of each ratio."""
    mine, its = row.cost, yardstick.cost
    pairs = [("network evaluations", mine.evaluations, its.evaluations), ("seconds", mine.seconds, its.seconds)]
    ratios = [(what, a / b) for what, a, b in pairs if a and b]
    words = [f"{times(r)} its {what} (the other way round {times(1 / r)})" for what, r in ratios]
    rest = "" if row.ratio is None else f"; the rest at {times(row.ratio)}"
    return f"{row.point.name}: {listed(words)}{rest}"
