"""SecMI-NN: a classifier reads membership off what SecMI's step there and back leaves of each pixel.

Duan et al., ICML 2023 (2302.01316), the neural variant: its input is |x_s - reconstruction| in every pixel, at SecMI's
timesteps; the classifier learns from images whose membership is known.

Choices of ours, for this and other classifiers of maps: see _map_reader.py.
"""

import copy
from typing import Any

from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import AuditSetting, Calibration, Skip, release_param
from leakbench.api.views import DenoiserView

from ._map_reader import MapReader, too_many
from .secmi import SecMI


class SecMINN(SecMI):
    """Supervised SecMI; t / k + 1 network calls an image, those of the statistic."""

    name = "secmi_nn"
    summary = "classifier on the error maps of one DDIM step there and back (SecMI-NN)"

    labels: int | None = release_param(None, ge=2)  # None: all that calibration holds

    _reader: Any = PrivateAttr(default=None)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """A timestep that the schedule does not have, or more labels than there are."""
        return too_many(self.labels, setting) or super().skip(setting)

    def fit(self, calibration: Calibration) -> "SecMINN":
        """A copy with a classifier of calibration members against calibration nonmembers."""
        maps, stream = calibration.ask(self._maps), calibration.streams.of("secmi_nn")
        fitted = copy.copy(self)
        fitted._reader = MapReader.fit(maps, calibration.is_member, self.labels, stream)
        return fitted

    def _maps(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        x, back = self.there_and_back(view, images)
        return (back - x).abs()

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log-odds of membership."""
        odds: Tensor = self._reader.score(self._maps(view, images, labels))
        return odds
