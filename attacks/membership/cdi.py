"""CDI: many features of an image, joined by a logistic regression, and judged in sets of images.

Dubinski et al., CVPR 2025 (2411.12858), data set inference: was this set of images trained on? Single images may give
nothing away where a few dozen together do. A logistic regression on images whose membership is known turns features
into one score; the harness then compares whole sets of scores (one-sided Welch test, p value by set size).

Features, each an error that members have less of, as in the authors' code: the root of the denoising loss at t = 100,
mean of 5 noise draws; SecMI inverted to 100 and compared there, 100 -> 110 -> 100; PIA and PIAN (t = 200, p = 5); the
root of the denoising loss at t = 0, 100, .., 900, one draw for all. Those that need gradients: cdi_gradients.py.

Choices of ours: features enter as logarithms, since they are positive and span decades; the regression of
`_regression`; the one draw is the first of the five; PIAN has its authors' constant (CDI's code has its inverse, see
pian.py).
"""

import copy

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, Needs
from leakbench.api.views import DenoiserView

from ._regression import Regression, log_errors
from ._shared import squared_error
from .pia import PIA
from .pian import PIAN
from .secmi import SecMI

TIMESTEPS = range(0, 1000, 100)
_OTHERS: tuple[MembershipAttack, ...] = (SecMI(t=110), PIA(p=5), PIAN(p=5))  # SecMI compares one stride before its t


class CDI(MembershipAttack):
    """Logistic regression on 14 features; 31 network calls an image, 3 of them the same as another."""

    name = "cdi"
    summary = "many features joined by a logistic regression, for sets of images (CDI)"
    access = Access.DENOISER
    sets = True

    _regression: Regression | None = PrivateAttr(default=None)

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(TIMESTEPS))

    def features(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Logarithms of the errors, (N, 14), float64."""
        loss = torch.stack([_root_loss(view, 100, draw) for draw in range(5)]).mean(dim=0)
        others = [-other.score(view, images, labels) for other in _OTHERS]
        return log_errors([loss, *others, *(_root_loss(view, t) for t in TIMESTEPS)])

    def fit(self, calibration: Calibration) -> "CDI":
        """A copy with a regression of calibration membership on the features."""
        fitted = copy.copy(self)
        fitted._regression = Regression.fit(calibration.ask(self.features), calibration.is_member)
        return fitted

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log odds of membership, float64."""
        assert self._regression is not None
        return self._regression.log_odds(self.features(view, images, labels))


def _root_loss(view: DenoiserView, t: int, draw: int = 0) -> Tensor:
    return squared_error(view.eps(view.noised(t, draw), t), view.noise(draw)).sqrt()
