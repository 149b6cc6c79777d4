"""Against AMG: a push that turns round with the noise points at a training image.

AMG (2404.00922) pushes a state x_t away from the nearest of the noised training images q_t(x_i) = sqrt(alpha_bar_t) x_i
+ sqrt(1 - alpha_bar_t) n_i. Around a member's own q_t the push points outwards on every side; elsewhere it points away
from some other image, and is much the same on both sides. With noise eps, h a length, and

    o(h) = ( eps_hat(sqrt(alpha_bar_t) x + h sqrt(1 - alpha_bar_t) eps, t) - eps_hat(.. - h .., t) ) / 2,

what a network answers that is linear between the four points below cancels in 2 o(1/2) - o(1), and so does all that
the two sides share. An outward push has about one length at every distance, and does not:

    S(x) = -mean over draws of < 2 o(1/2) - o(1), eps > / || eps ||^2,   t = 0

The attacker knows that AMG may stand behind the answers. It knows neither the training images nor the noise n_i that
the guard drew for them, nor the scale, the thresholds, or whether a push came. It assumes that the gate opens on a
member at its lowest noise, as the published thresholds do, and that the network is smooth on that scale.

Choices of ours: all of it; no paper attacks AMG. At t = 0 the four points lie closest together, the network is most
nearly linear between them, and other training images are furthest away; t and the lengths were chosen on digits at seed
7, which is not reported but has the same split. Where the raw network itself bends, the score follows that bend too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView


class AdaptiveAMG(MembershipAttack):
    """Share of the answer that turns round with the noise what is linear; 4 network calls an image and draw."""

    name = "adaptive_amg"
    summary = "finds the guard's push away from a member by its turning round with the noise (knows AMG)"
    adaptive = True
    access = Access.DENOISER

    t: int = release_param(0, ge=0, lt=1000)
    draws: int = release_param(4, ge=1)

    @property
    def needs(self) -> Needs:
        """Releases that ship member images, and the timestep."""
        return Needs(parts=("members",), latest=self.t)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the share of the noise that the bend of the answers makes up, mean over draws."""
        return -torch.stack([self._bend(view, draw) for draw in range(self.draws)]).mean(dim=0)

    def _bend(self, view: DenoiserView, draw: int) -> Tensor:
        noise = view.noise(draw)

        def odd(length: float) -> Tensor:
            there, back = (view.eps(view.noise_to(self.t, side * length * noise), self.t) for side in (1, -1))
            return (there - back) / 2

        bend = 2 * odd(0.5) - odd(1.0)
        return (bend * noise).flatten(1).sum(dim=1) / noise.square().flatten(1).sum(dim=1)
