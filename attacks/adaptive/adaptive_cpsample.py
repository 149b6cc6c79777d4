"""Against CPSample: the denoising loss with the guidance taken out of the answers.

CPSample (2409.07025) leaves the network as it was and adds to its answers, wherever a classifier that has over-fitted
the training images is sure, a push that the loss attack takes for a large loss. `_line` finds, from answers alone, a
state close by where the push is gone; the raw network's loss there is that of the state asked about. Score:

    S(x) = -mean over t and draws of log( || error without guidance ||^2 / pixels )

The attacker knows that CPSample may stand behind the answers, and how it works. It has neither the classifier nor the
network, and knows neither alpha nor the scale. It assumes that guidance, where it matters, is larger than the network's
own error, so that it shows the way out; that the classifier is smooth enough for a straight way; and that the network's
idea of the image changes little on the way. Where the push points elsewhere (`direction = "random"`, the control), it
shows no way out, and what is left is the loss at several timesteps.

Choices of ours: all of it; no paper attacks CPSample so. Logarithms, because what guidance was not found leaves errors
a thousand times too large, which a mean would be made of; t = 20, 50, 100, 200 and 2 draws. Design and constants were
chosen on digits at seed 7, which
is not reported but has the same split. The score is fixed in advance and learns nothing.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._line import Walk, mean_square, walk

TINY = 1e-12  # below any error of a network, so that a logarithm is a number


class AdaptiveCPSample(MembershipAttack):
    """Loss beyond the gate; 17 network calls an image, timestep and draw."""

    name = "adaptive_cpsample"
    summary = "denoising loss with the guidance found and taken out (knows CPSample)"
    adaptive = True
    access = Access.DENOISER
    shares = False

    t: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] = release_param((20, 50, 100, 200), min_length=1)
    draws: int = release_param(2, ge=1)

    @property
    def needs(self) -> Needs:
        """A classifier, and the timesteps.

        The part only marks where CPSample stands: the attack is shown nothing of it.
        """
        return Needs(parts=("classifier",), latest=max(self.t))

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean logarithm of the loss without guidance."""
        return -torch.stack([log_length(found.corrected) for found in self.walks(view)]).mean(dim=0)

    def walks(self, view: DenoiserView) -> list[Walk]:
        """A walk for every timestep and draw, timesteps outermost."""
        return [walk(view, t, draw) for t in self.t for draw in range(self.draws)]


def log_length(x: Tensor) -> Tensor:
    """The logarithm of the mean square of x (N, C, H, W): (N,)."""
    return mean_square(x).clamp_min(TINY).log()
