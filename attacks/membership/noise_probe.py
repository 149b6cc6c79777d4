"""Noise as a probe: from the noise in which the base sees an image, the fine-tune draws a member again.

2601.21628. Invert the image x with the base that the target was fine-tuned from, and let the target draw from there:

    z = DDIM inversion of x by the base, 100 steps;   xhat = the target's DDIM from z, 50 steps
    S(x) = -|| x - xhat ||_2

Access, by the formula itself: the base's noise predictions, and a target that draws from a *given* noise. The paper
calls such a service a black box. A hosted model that takes a seed in the noise's place does not let it be asked, so it
is declared at DENOISER here and is not run at API.

Choices of ours: the base of a given model is inverted with the guidance that the target is served with (the paper: 1,
and 3.5 for the target), and at WEIGHTS neither walk is guided; both are told the image's own caption, where there is
one; timesteps are evenly spaced from 0 to T - 1; the distance is taken in the space in which the network denoises,
latents where there is a codec. Published AUCs: 0.76 to 0.90 on four fine-tunes, 0.56 to 0.73 from random noise in place
of z.
"""

from itertools import pairwise

import numpy as np
from torch import Tensor

from leakbench.api import REFERENCE, Access, AuxiliaryModel, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView


class NoiseProbe(MembershipAttack):
    """Distance to what the target draws from the base's noise; `steps` calls, and `inversion` of the base."""

    name = "noise_probe"
    summary = "distance to what the fine-tune draws from the noise in which its base sees the image (2601.21628)"
    access = Access.DENOISER
    shares = False  # a walk of its own

    inversion: int = release_param(100, ge=1)
    steps: int = release_param(50, ge=1)

    @property
    def needs(self) -> Needs:
        """Timesteps enough for both walks."""
        return Needs(walked=max(self.inversion, self.steps))

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """The base."""
        return (REFERENCE,)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the distance, (N,)."""
        base, x = view.others[REFERENCE.name].view, images
        for s, u in pairwise(_spaced(base.schedule.T, self.inversion + 1)):
            x = base.ddim(x, s, u)
        for s, u in pairwise([*reversed(_spaced(view.schedule.T, self.steps)), -1]):
            x = view.ddim(x, s, u)
        return -(images - x).flatten(1).norm(dim=1)


def _spaced(T: int, count: int) -> list[int]:
    """So many timesteps from 0 to T - 1, evenly; of one, the last."""
    return [T - 1] if count == 1 else [int(t) for t in np.linspace(0, T - 1, count).round()]
