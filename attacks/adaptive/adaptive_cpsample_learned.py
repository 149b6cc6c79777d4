"""Against CPSample, with labels: the loss without guidance, and what the guidance itself says of an image.

Guidance is made by a classifier that has over-fitted the members, so it says something of membership too: a member's
may be the larger, for the gate opens, or the smaller, for a classifier that is sure is flat. Which of the two depends
on alpha and on the timestep, so calibration images have to say. Of every walk of `_line`, averaged over draws:

    log |error of the answer|^2,  log |error without guidance|^2,  log |guidance|^2,  the length walked before guidance
    turned round,  whether it did

for each timestep, all standardised by the calibration images, go into a logistic regression.

The attacker is that of `adaptive_cpsample` and knows of some images whether they are members. Choices of ours: the five
numbers; sklearn's regression at its default C = 1. Chosen on digits at seed 7, which
is not reported but has the same split.
"""

from __future__ import annotations

import copy

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Calibration
from leakbench.api.views import DenoiserView

from ..membership._regression import Regression
from ._line import Walk
from .adaptive_cpsample import AdaptiveCPSample, log_length


class AdaptiveCPSampleLearned(AdaptiveCPSample):
    """Logistic regression on what the walks found; 17 network calls an image, timestep and draw."""

    name = "adaptive_cpsample_learned"
    summary = "loss with the guidance taken out, and the guidance, weighed by calibration labels (knows CPSample)"

    _rule: Regression | None = PrivateAttr(default=None)

    def fit(self, calibration: Calibration) -> AdaptiveCPSampleLearned:
        """A copy that has learnt the weights."""
        fitted = copy.copy(self)
        fitted._rule = Regression.fit(calibration.ask(self._features), calibration.is_member)
        return fitted

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log odds of membership."""
        assert self._rule is not None
        return self._rule.log_odds(self._features(view, images, labels))

    def _features(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Five numbers a timestep, (N, 5 timesteps)."""
        rows = torch.stack([_numbers(found) for found in self.walks(view)], dim=1)  # (N, timesteps * draws, 5)
        return rows.view(len(rows), len(self.t), self.draws, -1).mean(dim=2).flatten(1)


def _numbers(found: Walk) -> Tensor:
    columns = [log_length(part) for part in (found.naive, found.corrected, found.guidance)]
    return torch.stack([*columns, found.near, found.turned.float()], dim=1)
