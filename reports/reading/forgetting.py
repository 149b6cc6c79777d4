"""Forgetting at each point: of the label, the damage to the rest, and the cost.

Implementation choice: a point has forgotten when the whole interval of its forget probability lies below 0.2 and the
baseline's lies above. A ratio of distances is mean over mean; it has no interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate, aggregate, aggregate_oriented, ratio_of_means
from .costs import Cost, find_cost
from .leakage import join_names
from .points import find_reference
from .selection import quality_records
from .strongest import strongest_by_image

FORGOTTEN = 0.2
KEPT = 1.5
LEVEL = "DENOISER"


@dataclass(frozen=True)
class Forgetting:
    """A point: `probability` of the label that was to go, `real` that of real images of it, `retained` the distance on
    the other labels and `ratio` that to the baseline's; `auc` of the images to forget, by the strongest attack."""

    point: PlannedPoint
    probability: Aggregate | None
    real: Aggregate | None
    retained: Aggregate | None
    ratio: float | None
    attack: str
    auc: Aggregate | None
    cost: Cost

    @property
    def forgotten(self) -> bool:
        """True if the whole interval of the probability lies below 0.2."""
        return self.probability is not None and self.probability.summary.high < FORGOTTEN


def list_forgetting(run: RunFolder) -> list[Forgetting]:
    """A row a point whose samples were asked for what was to go; where none was (a subset is no label), a row a point
    whose attacks looked for it."""
    found = [_row(run, point) for point in run.plan.points]
    asked = [row for row in found if row.probability is not None]
    return asked or [row for row in found if row.auc is not None]


def _row(run: RunFolder, point: PlannedPoint) -> Forgetting:
    start = find_reference(run, point)
    before = aggregate(quality_records(run, start), "frechet_retained") if start else None
    measured, attacks = quality_records(run, point), list(strongest_by_image(run, point, LEVEL).values())
    names = ("forget_probability", "forget_probability_real", "frechet_retained")
    probability, real, retained = (aggregate(measured, name) for name in names)
    change, auc = ratio_of_means(retained, before), aggregate_oriented(attacks, "forget_auc")
    return Forgetting(point, probability, real, retained, change, join_names(attacks), auc, find_cost(run, point))
