"""Blind baseline: a classifier that never sees the model.

Das et al. 2024 (2406.16201): if members can be told from nonmembers without the model, the split itself leaks and every
attack's number is void. Trained on the calibration images, tested once on the reported ones; where there are too few
images to spare any, on these, a pair at a time left out (leakbench.models.pair_reader).
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, ImageSet, MembershipAttack
from leakbench.models.classifiers import blind_reader, blind_table


class Blind(MembershipAttack):
    """Membership from the pixels alone; no network calls."""

    name = "blind"
    summary = "a classifier on the images that never sees the model: must stay at 0.5"
    access = Access.NONE
    leaves_pairs_out: ClassVar[bool] = True
    _reader: Any = PrivateAttr(default=None)

    def fit(self, calibration: Calibration) -> Blind:
        """Train the reader on calibration members against calibration nonmembers."""
        fitted = copy.copy(self)
        fitted._reader = blind_reader(calibration.images, calibration.is_member)
        return fitted

    def describe(self, images: ImageSet) -> np.ndarray:
        """Principal components and summaries of the pixels."""
        return blind_table(images.images)

    def score(self, view: object, images: Tensor, labels: Tensor | None) -> Tensor:
        """The reader's log-odds of membership."""
        return torch.as_tensor(self._reader.score(images))
