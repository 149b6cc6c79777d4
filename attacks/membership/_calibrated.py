"""Difficulty calibration by the model that the target was fine-tuned from.

Watson et al. 2022 (2111.08440), with the base in the place of their reference models. Score, of an attack's score S:

    S(x; target) - S(x; base)        for a loss L: L_base(x) - L_target(x)

An image that is easy for every model is easy for the base as well, and what is left is what fine-tuning made easier.
No shadow model is trained. Adversary: whoever may ask the fine-tune for noise and holds the public base it started from
(of a LoRA: the same model without it).

Choices of ours: both terms have the same timesteps and the same noise, which takes the noise of the draw out of their
difference; the base is asked about what the target denoises, in the target's latents. It speaks of the fine-tuning
alone: what the base saw in its own training is not found. No membership score of a diffusion fine-tune calibrated by
its base is published; PFAMI (2308.12143) calibrates by a reference model that saw other images.
"""

from typing import Any

from torch import Tensor

from leakbench.api import REFERENCE, AuxiliaryModel, MembershipAttack


class Calibrated(MembershipAttack):
    """Twin of the attack that a class names after it among its bases: twice its calls, half of them of the base."""

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """The base."""
        return (REFERENCE,)

    def score(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """The attack's score, less its score under the base."""
        base = view.others[REFERENCE.name].view
        return super().score(view, images, labels) - super().score(base, images, labels)
