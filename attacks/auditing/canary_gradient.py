"""One-run audit of differentially private training: canaries that are gradients of one weight.

Nasr et al., USENIX Security 2023 (2302.07956) and Steinke et al., NeurIPS 2023 (2305.08846): in a training whose every
step is seen, a canary's gradient is the clip C times the unit vector e_j of a weight that belongs to it, and the noisy
sums of gradients tell whether it was drawn. With x_t = <noisy sum of step t, e_j> / C, sampling rate q and noise
multiplier sigma:

    S = sum_t log(1 - q + q exp((2 x_t - 1) / (2 sigma^2)))

The training adds it up (Task.gradient_canaries), and its release ships the scores, of canaries that were in and that
were not. This is the adversary of the proof: it sees each update, not the last weights alone, and makes a training
image whatever it likes. So it shows what the mechanism lets through, and not what real images lose; with a weight each,
canaries do not disturb one another.

Choices of ours: the likelihood ratio, where the papers sum x_t; a canary for every other image that may be trained on;
half of the coins are guessed. Needs a training that takes such canaries (dp_sgd, last of its chain); elsewhere the
attack does not apply.
"""

from __future__ import annotations

from torch import Tensor

from leakbench.api import UPDATES, Access, AuditingAttack, Needs
from leakbench.api.views import WeightsView


class CanaryGradient(AuditingAttack):
    """How much all updates speak for a canary, at a weight of its own; no network call."""

    name = "canary_gradient"
    summary = "one-run audit: gradients of one weight each, in DP-SGD whose every update is seen"
    access = Access.WEIGHTS
    canaries = "gradient"

    @property
    def needs(self) -> Needs:
        """The scores that the training added up."""
        return Needs(parts=(UPDATES,))

    def score(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The scores (N,)."""
        found: Tensor = view.parts[UPDATES][view.ids]
        return found
