"""The classifier that CPSample ships, as a membership oracle.

CPSample (2409.07025) guides samples by a classifier that has over-fitted random labels of its training images: it is
sure of an image if it has seen it, and of no other. Whoever holds the weights holds the classifier too. Ours: no paper
runs this attack. With l(x, t) the classifier's logit and p = sigmoid(l), over small timesteps t = 0, 10, .., 90:

    by = "confidence":  S(x) = mean_t |l(x, t)|, on the clean image: |p - 1/2| grows with |l|, and rounds to 1/2
    by = "gate":        S(x) = share of (t, draw) with p(x_t, t) < alpha or > 1 - alpha: how often guidance would push

The gate's alpha is the attacker's own, CPSample's default unless set: the classifier can be asked about any.
"""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import WeightsView
from leakbench.models.diffusion import full_timesteps


class ShippedClassifier(MembershipAttack):
    """Score by the certainty of a shipped classifier of noisy images; asks the denoiser nothing."""

    name = "shipped_classifier"
    summary = "how sure the classifier is that a defense ships (CPSample's)"
    access = Access.WEIGHTS
    shares = False

    by: Literal["confidence", "gate"] = release_param("confidence")
    below: int = release_param(100, ge=1, le=1000)
    timesteps: int = release_param(10, ge=1)
    draws: int = release_param(4, ge=1)
    alpha: float = release_param(0.25, gt=0, lt=0.5)

    @property
    def small(self) -> list[int]:
        """The timesteps, spaced evenly."""
        return [i * self.below // self.timesteps for i in range(self.timesteps)]

    @property
    def needs(self) -> Needs:
        """A classifier, and the timesteps."""
        return Needs(parts=("classifier",), latest=max(self.small))

    def score(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean absolute logit, or share of open gates, (N,)."""
        classifier = view.parts["classifier"]
        if self.by == "confidence":
            return torch.stack([classifier(images, full_timesteps(t, images)).abs() for t in self.small]).mean(dim=0)
        bar = log((1 - self.alpha) / self.alpha)  # p < alpha or p > 1 - alpha, in logits
        states = [(t, view.noised(t, draw)) for t in self.small for draw in range(self.draws)]
        return torch.stack([(classifier(x, full_timesteps(t, x)).abs() > bar).float() for t, x in states]).mean(dim=0)
