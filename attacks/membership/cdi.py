"""CDI: many features of an image, joined by a logistic regression, and judged in sets of images.

Dubinski et al., CVPR 2025 (2411.12858), data set inference: was this set of images trained on? Single images may give
nothing away where a few dozen together do. A logistic regression on images whose membership is known turns features
into one score; the harness then compares whole sets of scores (one-sided Welch test, p value by set size).

Features, each an error that members have less of: the denoising loss at t = 0, 100, .., 900 with 5 noise draws (that
at t = 100 is the paper's single loss), SecMI, PIA and PIAN (t = 200, p = 5). The paper's gradient masking and noise
optimisation need the weights and are left out; its PIAN has the inverse constant, ours the right one (see pian.py).

Choices of ours: features enter as logarithms, since they are positive and span decades, standardised by the mean and
deviation of the images that the regression learns from; scikit-learn's logistic regression as it comes (L2, C = 1).
"""

import copy
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs
from leakbench.api.views import DenoiserView

from .loss import Loss
from .pia import PIA
from .pian import PIAN
from .secmi import SecMI

TIMESTEPS = range(0, 1000, 100)
FEATURES: tuple[MembershipAttack, ...] = (*(Loss(t=t, draws=5) for t in TIMESTEPS), SecMI(), PIA(p=5), PIAN(p=5))


class CDI(MembershipAttack):
    """Logistic regression on 13 features; 65 network calls an image, 2 of them the same as another."""

    name = "cdi"
    summary = "many features joined by a logistic regression, for sets of images (CDI)"
    access = Access.DENOISER
    sets = True

    _line: Any = PrivateAttr(default=None)  # (mean, deviation, weights, intercept) of the features

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(TIMESTEPS))

    def fit(self, calibration: Calibration) -> "CDI":
        """A copy with a regression of calibration membership on the features."""
        from sklearn.linear_model import LogisticRegression

        found = calibration.ask(_features)
        mean, deviation = found.mean(dim=0), found.std(dim=0, correction=0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        model = LogisticRegression(max_iter=1000)
        model.fit(((found - mean) / deviation).cpu().numpy(), calibration.is_member)
        fitted = copy.copy(self)
        fitted._line = (mean, deviation, found.new_tensor(model.coef_[0]), float(model.intercept_[0]))
        return fitted

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log odds of membership, float64."""
        mean, deviation, weights, intercept = self._line
        return ((_features(view, images, labels) - mean) / deviation) @ weights + intercept


def _features(view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
    """Logarithms of the errors, (N, 13), float64."""
    errors = [-feature.score(view, images, labels) for feature in FEATURES]
    return torch.stack([error.double().clamp_min(1e-30).log() for error in errors], dim=1)
