"""Names and contents of a record that is to be written of a release."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from leakbench.api import Access
from leakbench.data.split_groups import Unit
from leakbench.metrics.evaluate.metric_set import MetricSet


@dataclass(frozen=True)
class RecordSpec:
    """One record to be written: an attack (its id in the suite, or "quality") at an access level, and what is asked
    about."""

    attack: str
    access: Access
    unit: Unit = "image"

    @property
    def name(self) -> str:
        """The record's name of the attack: its id, "loss", or beside it what is asked about, "loss@person"."""
        return self.attack if self.unit == "image" else f"{self.attack}@{self.unit}"


@dataclass(frozen=True)
class RecordContents:
    """Contents of one record.

    arrays: raw scores, for the npz file. timings: seconds, by what took them. features: the embedding that was used.
    queries: calls of eps an image. calls: what the attacks of the run shared, which depends on those that ran together
    and is no part of the record's identity.
    """

    metrics: MetricSet
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    features: str = ""
    queries: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)
