"""Inversion: does the forgotten still have a way in, by the initial noise or by the label?

`by = "noise"` (Memories of Forgotten Concepts, 2412.00782): each forget image is inverted along the model's own
deterministic walk, under its own label, to a seed x_T, and sampled again from there.
- "psnr": how well the image comes back, in dB (published: every erased model at 25 dB or more).
- "likelihood": log N(x_T; 0, I), in nats a pixel: how ordinary the seed is. Beside it d_N, the ratio of the earth
  mover's distances of the forget images' NLL and of the retained images' to that of true N(0, I) seeds; about 1 = not
  erased.
The paper notes that inversion finds a seed even for scrambled images: hence the never-seen controls, which are unseen
images of the same class, and all of it by the retrained model.

`by = "label"`: the label-conditional form of UnlearnDiffAtk (2310.11868). The label's embedding vector is optimised on
few forget images with the weights frozen; then P(label) of samples under it, against iterations ("inversion"), beside
the same on the retrained model. At no iterations it is the plain forget probability.

Choices of ours. Noise: the walk is that of the suite's sampler; plain DDIM inversion, unless `renoise` gives rounds of
the published refinement (5 there, on 50 steps): with them every image came back at 59 dB on average or more on the
digits' small network, seen or not, and "psnr" said little; as many retained images as forget ones, drawn at random;
1,000 true seeds. Label: it starts from the embedding that is there; 5 images, 128 iterations of Adam on batches of 32
at a learning rate of 0.1 that falls to zero along a cosine; samples after 0, 1, 2, 4, .. of them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from leakbench.api import (
    Access,
    AuditSetting,
    PairedScores,
    QueriedModel,
    Skip,
    UnlearningAttack,
    UnlearningContext,
    UnlearningEvidence,
    UnlearningScores,
    release_param,
)
from leakbench.api.views import DenoiserView
from leakbench.data.image_batch import Images
from leakbench.models.training.loop import Recipe

from ._curves import Effort, measure_curve
from ._seeds import found_seed, log_density, psnr, walked_down
from ._shared import answers, no_label, some

_STANDARD = 1000  # true seeds that d_N is measured from


class Inversion(UnlearningAttack):
    """Inverts forget images to seeds, or the forgotten label to an embedding."""

    name = "inversion"
    summary = "seeds or a label embedding that bring the forgotten back, with a never-seen control"
    access = Access.WEIGHTS

    by: Literal["noise", "label"] = release_param("noise")
    renoise: int = release_param(0, ge=0)
    images: int = release_param(5, ge=1)
    steps: int = release_param(128, ge=0)
    batch: int = release_param(32, ge=1)
    lr: float = release_param(0.1, gt=0)
    samples: int = release_param(64, ge=2)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Skip, where it inverts the label, releases that were not to forget one or are not conditioned on labels."""
        return (no_label(setting) if self.by == "label" else None) or super().skip(setting)

    def run(self, ground: UnlearningContext) -> UnlearningEvidence:
        """Invert the initial noise, or the label."""
        return self._by_label(ground) if self.by == "label" else self._by_noise(ground)

    def _by_label(self, ground: UnlearningContext) -> UnlearningEvidence:
        few = some(ground.forget, self.images, ground.streams.of("attacking", "own", "few to invert"))
        stream = ground.streams.of("attacking", "own", "inversion")
        recipe = Recipe(self.steps, self.batch, self.lr, ema=0.0)
        effort = Effort(few, recipe, stream, self.samples, embedding=True)
        return UnlearningEvidence(curves={"inversion": measure_curve(ground, effort)})

    def _by_noise(self, ground: UnlearningContext) -> UnlearningEvidence:
        count = min(len(ground.retained.ids), len(ground.forget.ids))
        retained = some(ground.retained, count, ground.streams.of("attacking", "own", "retained to invert"))
        ours, null = (self._seeds(model, ground, retained) for model in (ground.model, ground.retrained))
        numbers = torch.arange(_STANDARD, device=ground.device)
        true = ground.streams.of("attacking", "own", "true seeds").normal(numbers, ground.forget.images.shape[1:])
        standard = log_density(true).double().cpu().numpy()
        return UnlearningEvidence(
            {
                "psnr": PairedScores(ours["psnr"], null["psnr"]),
                "likelihood": PairedScores(ours["likelihood"], null["likelihood"], standard),
            }
        )

    def _seeds(self, model: QueriedModel, ground: UnlearningContext, retained: Images) -> dict[str, UnlearningScores]:
        def question(view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
            seed = found_seed(view, images, self.renoise)
            return torch.stack([psnr(images, walked_down(view, seed)), log_density(seed)], dim=1)

        found = answers(model, question, ground.forget, ground.unseen, retained)
        return {
            name: UnlearningScores(*(group[:, column] for group in found))
            for column, name in enumerate(("psnr", "likelihood"))
        }
