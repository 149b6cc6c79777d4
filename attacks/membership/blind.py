"""Blind baseline: a classifier that never sees the model.

Das et al. 2024 (2406.16201): if members can be told from nonmembers without the model, the split itself leaks and every
attack's number is void. Trained on the calibration images, tested once on the reported ones.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack
from leakbench.models.classifiers import blind_reader


class Blind(MembershipAttack):
    """Membership from the pixels alone; no network calls."""

    name = "blind"
    summary = "a classifier on the images that never sees the model: must stay at 0.5"
    access = Access.NONE
    _reader: Any = PrivateAttr(default=None)

    def fit(self, calibration: Calibration) -> Blind:
        """Train the reader on calibration members against calibration nonmembers."""
        fitted = copy.copy(self)
        fitted._reader = blind_reader(calibration.images, calibration.is_member)
        return fitted

    def score(self, view: object, images: Tensor, labels: Tensor | None) -> Tensor:
        """The reader's log-odds of membership."""
        return torch.as_tensor(self._reader.score(images))
