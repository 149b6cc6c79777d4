"""Measuring, evaluating and access levels of each attack family (rows of leakbench.results.families).

A family runs its attacks one by one, or all together where they share network calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from leakbench.api import Access, Attack
from leakbench.data.split import Split
from leakbench.data.split_groups import Unit, list_units
from leakbench.measurement.access_levels import LEVELS
from leakbench.measurement.attribute import measure_attribute
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.auditing import measure_auditing
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.membership import measure_membership
from leakbench.measurement.memorisation import measure_memorisation
from leakbench.measurement.record_contents import RecordContents, RecordSpec
from leakbench.measurement.replication import measure_replication
from leakbench.measurement.unlearning import measure_unlearning
from leakbench.metrics.evaluate.attribute import evaluate_attribute
from leakbench.metrics.evaluate.auditing import evaluate_auditing
from leakbench.metrics.evaluate.membership import evaluate_membership
from leakbench.metrics.evaluate.memorisation import evaluate_memorisation
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning
from leakbench.results.families import FamilyName

Attacks = dict[str, tuple[Any, list[Access]]]  # by id: the attack, and the access levels asked for


@dataclass(frozen=True)
class FamilyMeasurement:
    """One family. levels: the access levels at which an attack gets a record. evaluate: from the family's evidence to
    metrics. measure: one attack at one level; measure_together: all of a release's attacks; one of the two is given.
    units: what an attack is asked about, a record each.
    On what records depend, beside the release and the attack: reads_samples: the suite's number of samples;
    reads_features: the suite's features, and the weights of feature networks on this machine; reads_classifiers: the
    classifiers of reference images; reads_forget_set: the suite's [forget] table; keeps_pictures: --no-images."""

    levels: Callable[[Attack], list[Access]]
    evaluate: Callable[..., MetricSet]
    measure: Callable[[AuditContext, Any, Access], RecordContents] | None = None
    measure_together: Callable[[AuditContext, Attacks], Iterator[tuple[RecordSpec, RecordContents]]] | None = None
    units: Callable[[Split], tuple[Unit, ...]] = lambda split: ("image",)
    reads_samples: Callable[[Any], bool] = lambda attack: bool(attack.may_read_samples)
    reads_features: bool = False
    reads_classifiers: bool = False
    reads_forget_set: bool = False
    keeps_pictures: bool = False

    @property
    def code(self) -> tuple[Callable[..., Any], ...]:
        """The functions and classes that measure and evaluate: roots of the code that records depend on."""
        measure: Any = self.measure or self.measure_together
        extractor = [FeatureExtractor] if self.reads_features or self.reads_classifiers else []
        return (measure, self.evaluate, *extractor)


MEASUREMENTS: dict[FamilyName, FamilyMeasurement] = {
    "membership": FamilyMeasurement(
        LEVELS["membership"],
        evaluate_membership,
        measure_together=measure_membership,
        units=list_units,
        reads_forget_set=True,
    ),
    "memorisation": FamilyMeasurement(
        LEVELS["memorisation"], evaluate_memorisation, measure_together=measure_memorisation
    ),
    "replication": FamilyMeasurement(  # of what the service gives out, at its own level alone
        LEVELS["replication"],
        evaluate_replication,
        measure_replication,
        reads_samples=lambda attack: True,
        reads_features=True,
        keeps_pictures=True,
    ),
    "attribute": FamilyMeasurement(
        LEVELS["attribute"],
        evaluate_attribute,
        measure_attribute,
        reads_samples=lambda attack: attack.of != "images" or attack.may_read_samples,
    ),
    "unlearning": FamilyMeasurement(
        LEVELS["unlearning"],
        evaluate_unlearning,
        measure_unlearning,
        reads_samples=lambda attack: True,
        reads_classifiers=True,
        reads_forget_set=True,
    ),
    "auditing": FamilyMeasurement(LEVELS["auditing"], evaluate_auditing, measure_auditing),
}
