"""Size of the text-conditional noise: a prompt that is memorised moves the model from the first step on.

Wen et al., ICLR 2024 (2407.21720). Of the images nothing is read, only their captions: "was the model trained on this
prompt, so that it returns one image?" From pure noise, on the sampler's own path under guidance w, over the first
`steps` steps and `draws` paths:

    S(c) = mean of || eps_theta(x_t, c) - eps_theta(x_t, none) ||_2

One step of four draws by default: 8 calls a prompt, and as good in the published table as five steps of one draw.

Choices of ours: the path is that of the release's schedule, w = 7.5 as in the paper; a service that guides already is
asked as it answers, where S is w times as large for all prompts. Of a model that has no answer without condition the
mean over up to three other captions or classes stands for it (membership/_conditions.py).
"""

from itertools import pairwise

import torch
from torch import Tensor

from leakbench.api import Access, MemorisationAttack, release_param
from leakbench.api.views import DenoiserView
from leakbench.models import diffusion

from ..membership._conditions import eps_without


class PromptNoise(MemorisationAttack):
    """Norm of what the caption adds to the noise; 2 * steps * draws network calls a prompt, 8 by default."""

    name = "prompt_noise"
    summary = "size of what the caption adds to the predicted noise; reads no image (Wen et al.)"
    access = Access.DENOISER

    steps: int = release_param(1, ge=1)
    draws: int = release_param(4, ge=1)
    guidance: float = release_param(7.5, ge=0)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean norm over steps and draws, (N,)."""
        return torch.stack([self._norm(view, images, draw) for draw in range(self.draws)]).mean(dim=0)

    def _norm(self, view: DenoiserView, images: Tensor, draw: int) -> Tensor:
        """Mean norm over the steps of one path."""
        x = view.stream("prompt noise").normal(view.ids, tuple(images.shape[1:]), draw)
        walk, norms = view.schedule.timesteps(), []
        for t, following in pairwise([*walk[: self.steps], -1]):
            without = eps_without(view, x, t)
            added = view.eps(x, t) - without
            norms.append(added.flatten(1).norm(dim=1))
            if following >= 0:
                x = diffusion.ddim_step(view.schedule, x, t, following, without + self.guidance * added)
        return torch.stack(norms).mean(dim=0)
