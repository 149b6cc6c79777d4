"""The sensitive attribute in the samples of each point: AUCs of two classifiers, shares, distance and its ratio.

One classifier was trained on real images, the other on samples of the release itself. Implementation choice: a point
hides the attribute when a classifier's AUC is within 0.05 of 1/2 at every seed; a mean would hide two seeds on either
side of it. A ratio of distances is mean over mean; it has no interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.metric_specs import HELDOUT_DISTANCE
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate, aggregate, ratio_of_means
from .distances import heldout_distance
from .points import find_reference
from .selection import quality_records

HIDDEN = 0.05
CLASSIFIERS = {"attribute_auc": "classifier of real images", "attribute_auc_trained": "classifier of samples"}


@dataclass(frozen=True)
class AttributeFairness:
    """The attribute at a point.

    aucs: by classifier. balance, real: share with the attribute, of samples and of real images. distance: to held-out
    images; ratio: that to the baseline's. tau: one a seed, where there is one.
    """

    point: PlannedPoint
    tau: tuple[float, ...]
    aucs: dict[str, Aggregate | None]
    balance: Aggregate | None
    real: Aggregate | None
    distance: Aggregate | None
    ratio: float | None

    def apart(self, classifier: str) -> float | None:
        """Distance of the classifier's AUC from 1/2 at the seed where it is largest."""
        found = self.aucs[classifier]
        return None if found is None else max(abs(one.value - 0.5) for one in found.by_seed.values())

    def hidden(self, classifier: str) -> bool:
        """True if the AUC lies within 0.05 of 1/2 at every seed."""
        apart = self.apart(classifier)
        return apart is not None and apart <= HIDDEN


def list_fairness(run: RunFolder) -> list[AttributeFairness]:
    """A row a point whose samples were read."""
    found = [_row(run, point) for point in run.plan.points]
    return [row for row in found if row.balance is not None or any(row.aucs.values())]


def _row(run: RunFolder, point: PlannedPoint) -> AttributeFairness:
    start = find_reference(run, point)
    before = heldout_distance(run, start) if start else None
    measured = quality_records(run, point)
    balance, real, away = (
        aggregate(measured, name) for name in ("attribute_balance", "attribute_balance_real", HELDOUT_DISTANCE)
    )
    aucs = {classifier: aggregate(measured, classifier) for classifier in CLASSIFIERS}
    return AttributeFairness(point, list_taus(run, point), aucs, balance, real, away, ratio_of_means(away, before))


def list_taus(run: RunFolder, point: PlannedPoint) -> tuple[float, ...]:
    """The tau of each seed's release, in the order of the seeds."""
    facts = [record.info.get("defense", {}) for record in quality_records(run, point)]
    return tuple(float(fact["tau"]) for fact in facts if isinstance(fact.get("tau"), int | float))
