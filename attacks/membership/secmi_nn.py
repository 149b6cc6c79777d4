"""SecMI-NN: a classifier reads membership off what SecMI's step there and back leaves of each pixel.

Duan et al., ICML 2023 (2302.01316), the neural variant: its input is |x_s - reconstruction| in every pixel, at SecMI's
timesteps; the classifier learns from images whose membership is known.

Choices of ours, for this and other classifiers of maps: see _map_reader.py.
"""

import copy
from dataclasses import replace
from typing import Any

from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Calibration, Needs, release_param
from leakbench.api.views import DenoiserView

from ._map_reader import MapReader
from .secmi import SecMI


class SecMINN(SecMI):
    """Supervised SecMI; t / k + 1 network calls an image, those of the statistic."""

    name = "secmi_nn"
    summary = "classifier on the error maps of one DDIM step there and back (SecMI-NN)"

    labels: int | None = release_param(None, ge=2)  # None: all that calibration holds

    _reader: Any = PrivateAttr(default=None)

    @property
    def needs(self) -> Needs:
        """The timestep, and labels to learn from."""
        return replace(super().needs, labels=self.labels or 0)

    def fit(self, calibration: Calibration) -> "SecMINN":
        """A copy with a classifier of calibration members against calibration nonmembers."""
        maps, stream = calibration.ask(self._maps), calibration.streams.of("secmi_nn")
        fitted = copy.copy(self)
        fitted._reader = MapReader.fit(maps, calibration.is_member, self.labels, stream)
        return fitted

    def _maps(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.error(view, images).abs()

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log-odds of membership."""
        odds: Tensor = self._reader.score(self._maps(view, images, labels))
        return odds
