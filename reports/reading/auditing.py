"""Audits: the epsilon that is stated for a training, and the lower bounds that an attack shows, seed by seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .attack_results import AttackResult, list_results
from .guarantees import epsilon_by


@dataclass(frozen=True)
class AuditResult(AttackResult):
    """An audit of a point. The guarantee is that of the training that was audited."""

    def values(self, metric: str) -> list[float]:
        """A metric, seed by seed."""
        found = self.aggregate(metric)
        return [one.value for one in found.by_seed.values()] if found else []

    @property
    def stated(self) -> list[float]:
        """The distinct epsilons that are stated by the unit of the bounds."""
        found = [epsilon_by(_fact(record, "canary_guarantee"), unit_of(record)) for record in self.records]
        return sorted({epsilon for epsilon in found if epsilon is not None})

    @property
    def unit(self) -> str:
        """What a bound is of: "image", or "group" where all images of a person had one coin."""
        return " / ".join(dict.fromkeys(unit_of(record) for record in self.records))

    @property
    def adjacency(self) -> str:
        """The adjacency of what is stated; empty where it does not say."""
        found = [_fact(record, "canary_guarantee").get("adjacency") for record in self.records]
        return " / ".join(dict.fromkeys(str(one) for one in found if one))

    @property
    def exceeded(self) -> list[int]:
        """The seeds at which the bound exceeds the stated epsilon."""
        return [record.seed for record in self.records if Flag.EPSILON_ABOVE_GUARANTEE in record.flags]

    @property
    def elsewhere(self) -> bool:
        """True if the release itself states another guarantee than the training that was audited."""
        return any(
            _fact(record, "canary_guarantee").get(key) != _fact(record, "target_guarantee").get(key)
            for record in self.records
            for key in ("epsilon", "delta")
        )


def unit_of(record: Record) -> Literal["image", "group"]:
    """The unit of a record's bounds of epsilon."""
    return "group" if record.info.get("unit") == "group" else "image"


def _fact(record: Record, name: str) -> dict[str, Any]:
    found = record.info.get(name)
    return found if isinstance(found, dict) else {}


def list_audits(run: RunFolder) -> list[AuditResult]:
    """Audits in the order of the suite."""
    return [AuditResult(**vars(row)) for point in run.plan.points for row in list_results(run, point, "auditing")]
