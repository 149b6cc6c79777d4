"""Attribute inference from outputs: a reader of real images looks at samples and says what each was asked for.

No paper's: the attacker has public images whose sensitive attribute is known, trains a classifier on them, and reads
the model's samples. It never learns what a sample was asked for; that reader is `attribute_auc_trained` of the quality
record (leakbench.metrics.fairness).

Choices of ours: the reader is that of leakbench.metrics.fairness, the small classifier of leakbench.models.classifiers
shortly trained; the score is the difference of its two logits, so that 0 is undecided.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, AttributeAttack, AttributeTrainingSet
from leakbench.api.views import SamplesView
from leakbench.metrics.fairness import train_attribute_classifier


class AttributeOutput(AttributeAttack):
    """A reader of public images, shown samples; no network calls."""

    name = "attribute_output"
    summary = "reads the sensitive attribute off samples, by a classifier of public images"
    access = Access.SAMPLES
    of = "samples"

    _reader: Any = PrivateAttr(default=None)

    def fit(self, known: AttributeTrainingSet) -> AttributeOutput:
        """A copy with a reader of the known images."""
        fitted = copy.copy(self)
        fitted._reader = train_attribute_classifier(
            known.images, known.attribute, known.streams.of("reader", self.name)
        )
        return fitted

    def score(self, view: SamplesView, images: Tensor, labels: None) -> Tensor:
        """Log odds of attribute 1."""
        logits: Tensor = self._reader(images)
        return logits[:, 1] - logits[:, 0]
