"""Audits: the epsilon that is claimed, the lower bound that an attack shows, and the ceiling of so many guesses.

A bound holds for its own training with 95 %, so bounds of several seeds are neither averaged nor is the best one
picked: all stand in the cell; of more than three seeds, the least and the largest. One exceeded claim in twenty
trainings is what a right claim gives at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .attack_results import AttackResult, list_results

ABOVE = "epsilon-above-claim"


@dataclass(frozen=True)
class AuditResult(AttackResult):
    """An audit of a point. The claim is that of the training that was audited."""

    def values(self, metric: str) -> list[float]:
        """A metric, seed by seed."""
        found = self.aggregate(metric)
        return [one.value for one in found.by_seed.values()] if found else []

    @property
    def claims(self) -> list[float]:
        """The distinct epsilons that are claimed."""
        found = [_fact(record, "canary_guarantee").get("epsilon") for record in self.records]
        return sorted({float(epsilon) for epsilon in found if isinstance(epsilon, int | float)})

    @property
    def exceeded(self) -> list[int]:
        """The seeds at which the bound exceeds the claim."""
        return [record.seed for record in self.records if ABOVE in record.flags]

    @property
    def elsewhere(self) -> bool:
        """Whether the release itself claims something else than the training that was audited."""
        return any(
            _fact(record, "canary_guarantee").get(key) != _fact(record, "target_guarantee").get(key)
            for record in self.records
            for key in ("epsilon", "delta")
        )


def _fact(record: Record, name: str) -> dict[str, Any]:
    found = record.info.get(name)
    return found if isinstance(found, dict) else {}


def list_audits(run: RunFolder) -> list[AuditResult]:
    """In the order of the suite."""
    return [AuditResult(**vars(row)) for point in run.plan.points for row in list_results(run, point, "auditing")]
