"""Extraction by inpainting: hide half of an image, complete it many times; members come back better.

Carlini et al. 2023 (2301.13188): of 5,000 completions of a half-masked image keep the 10 of the lowest loss, and
compare them with the truth. Here

    similarity = -mean over the kept of l2(completion, image) on the hidden half, on [-1, 1]

for members; for reference images, which set the threshold; and for nonmembers, whose rate beyond it is the null.

Choices of ours: the right half is hidden; 32 completions in place of 5,000 (each costs a whole walk); the loss of a
completion is the denoising loss at one timestep with noise that all completions of an image share, and the mean over
the kept counts, as the best of them could be told only with the truth at hand. Of a latent model completions are
compared in pixels, and their loss is that of their latents.
"""

import torch
from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from leakbench.api import Access, RecoveryAttack, release_param
from leakbench.api.views import DenoiserView
from leakbench.models.diffusion import add_noise, full_timesteps


class InpaintExtraction(RecoveryAttack):
    """Completions of a half-hidden image beside the image; `attempts` walks and as many calls more an image."""

    name = "inpaint_extraction"
    summary = (
        "hide half of an image, complete it many times, keep the likeliest, compare with the truth (Carlini et al.)"
    )
    access = Access.DENOISER

    attempts: int = release_param(32, ge=1)
    keep: int = release_param(10, ge=1, validate_default=True)
    t: int = release_param(100, ge=1, lt=1000)

    @field_validator("keep")
    @classmethod
    def _enough(cls, keep: int, info: ValidationInfo) -> int:
        attempts = info.data.get("attempts", keep)
        if keep > attempts:
            raise PydanticCustomError("keep", "Input should be at most attempts = {n}", {"n": attempts})
        return keep

    def recover(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean distance of the likeliest completions."""
        images = view.pixels
        hidden = torch.zeros(images.shape[-2:], dtype=torch.bool, device=images.device)
        hidden[:, images.shape[-1] // 2 :] = True
        losses, distances = [], []
        for draw in range(self.attempts):
            completed = view.inpaint(images, hidden, draw)
            losses.append(self._loss(view, view.encode(completed)))
            wrong = (completed - images)[..., hidden].square()  # (N, C, pixels)
            distances.append(wrong.mean(dim=(1, 2)).sqrt())
        kept = torch.stack(losses).topk(self.keep, dim=0, largest=False).indices
        return -torch.stack(distances).gather(0, kept).mean(dim=0)

    def _loss(self, view: DenoiserView, x0: Tensor) -> Tensor:
        """The denoising loss (N,) of x_0 (N, C, H, W)."""
        noise = view.noise()
        x_t = add_noise(view.schedule, x0, full_timesteps(self.t, x0), noise)
        return (view.eps(x_t, self.t) - noise).square().flatten(1).mean(dim=1)

    def space(self, features: str) -> str:
        """pixels."""
        return "pixels"
