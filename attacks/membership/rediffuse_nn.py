"""ReDiffuse, supervised: a classifier reads membership off what the variations leave of each pixel.

Li et al., ICML 2025 (2405.20771): for DDIM the distance D of `rediffuse` is learnt, from |x - xhat| in every pixel of
images whose membership is known. Strength, draws and the walk are those of rediffuse.py; the classifier and what it
learns from are choices of ours, those of _map_reader.py.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs, release_param
from leakbench.api.views import ApiView

from ._map_reader import MapReader
from ._variation import mean_variation


class ReDiffuseNN(MembershipAttack):
    """Supervised ReDiffuse; the requests of `rediffuse`."""

    name = "rediffuse_nn"
    summary = "classifier on the maps of distances to the mean of variations (ReDiffuse, supervised)"
    access = Access.API
    averages_answers = True

    strength: float = release_param(0.2, gt=0, le=1)
    draws: int = release_param(10, ge=1)
    labels: int | None = release_param(None, ge=2)  # None: all that calibration holds
    _reader: Any = PrivateAttr(default=None)

    @property
    def needs(self) -> Needs:
        """Labels to learn from, and variations by the service."""
        return Needs(labels=self.labels or 0, requests=("vary",))

    def fit(self, calibration: Calibration) -> ReDiffuseNN:
        """Train on calibration members against calibration nonmembers."""
        fitted, stream = copy.copy(self), calibration.streams.of(self.name)
        fitted._reader = MapReader.fit(calibration.ask(self._maps), calibration.is_member, self.labels, stream)
        return fitted

    def _maps(self, view: ApiView, images: Tensor, labels: Tensor | None) -> Tensor:
        return (images - mean_variation(view, images, self.strength, self.draws)).abs()

    def score(self, view: ApiView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log-odds of membership, (N,)."""
        reader: MapReader = self._reader
        return reader.score(self._maps(view, images, labels))
