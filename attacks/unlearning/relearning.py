"""Relearning: how little fine-tuning brings back what was forgotten?

The released weights are trained on, with the denoising loss, and now and then asked for samples of the forgotten label;
P(label) of a sample is the reference classifier's.
- "relearn": on a few forgotten images (MemoRa, 2510.03263).
- "relearn_retained": on retained images alone, without any forgotten one (DiMRA, 2512.03564; that even unrelated
  fine-tuning restores concepts is concept resurgence, 2410.08074).
The yardstick of each is the same curve of the retrained model.

Choices of ours, the sources' constants being unknown: 5 forgotten images (all, where there are fewer); 128 steps of
Adam on batches of 32 at a learning rate of 1e-3 that falls to zero along a cosine, gradients clipped to norm 1, weights
not averaged; samples after 0, 1, 2, 4, .. steps, the same numbers each time and for both models, by the plain sampler.
"""

from __future__ import annotations

from leakbench.api import (
    Access,
    AuditSetting,
    Skip,
    UnlearningAttack,
    UnlearningContext,
    UnlearningEvidence,
    release_param,
)
from leakbench.models.training.loop import Recipe

from ._curves import Effort, measure_curve
from ._shared import no_label, some


class Relearning(UnlearningAttack):
    """Forget probability against fine-tuning steps, on few forgotten images and on retained ones alone."""

    name = "relearning"
    summary = "fine-tuning steps until the forgotten label comes back, beside the retrained model"
    access = Access.WEIGHTS

    images: int = release_param(5, ge=1)
    steps: int = release_param(128, ge=0)
    batch: int = release_param(32, ge=1)
    lr: float = release_param(1e-3, gt=0)
    samples: int = release_param(64, ge=2)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Skip releases that were not to forget a label or are not conditioned on labels."""
        return no_label(setting) or super().skip(setting)

    def run(self, ground: UnlearningContext) -> UnlearningEvidence:
        """Two curves."""
        streams = ground.streams
        few = some(ground.forget, self.images, streams.of("attacking", "own", "few to relearn"))
        recipe = Recipe(self.steps, self.batch, self.lr, ema=0.0)
        curves = {
            name: measure_curve(ground, Effort(images, recipe, streams.of("attacking", "own", name), self.samples))
            for name, images in (("relearn", few), ("relearn_retained", ground.retained))
        }
        return UnlearningEvidence(curves=curves)
