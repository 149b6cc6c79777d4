"""RaMIA: was an image, or a version of it, in the training set?

Tao and Shokri, SaTML 2025, range membership inference (2408.05131; code: ml_privacy_meter at e384af8). The query is a
range, not a point: the image with its versions. Score: the trimmed mean of the base attack's scores S over the range,

    S(range) = mean of the k = (1 - ratio) n scores that are left when the lowest ("bottom") or highest ("top") are cut

Versions are those of the published preset for images: mirrored, upside down, rotated by a random angle of up to 30
degrees; with the image itself n = 4. `centre = false` leaves the image itself out: so asks who holds only versions of
what was trained on, the case that ranges are made for.

Choices of ours: the base is the denoising loss (the published one is RMIA, which has no published form for diffusion),
with the same noise for every version; the cut is a quarter from the bottom in advance (published: tuned on another
model), so that a member's other versions, which it was not trained on, pull its range down less; k is at least 1;
rotations are bilinear, and what turns in from outside is the nearest edge (published: nearest pixel, black). On
latents the versions are of latents.
"""

from functools import partial
from typing import Literal

import torch
from pydantic import model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor
from torch.nn import functional as F

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView
from leakbench.models.diffusion import add_noise, full_timesteps

from ._shared import losses, squared_error

Version = Literal["mirrored", "upside_down", "rotated"]
_DEGREES = 30.0


class RaMIA(MembershipAttack):
    """Trimmed mean of the denoising loss over an image and its versions; a network call a version and draw."""

    name = "ramia"
    summary = "trimmed mean of the loss over an image and its versions (range membership, RaMIA)"
    access = Access.DENOISER

    t: int = release_param(100, ge=0, lt=1000)
    draws: int = release_param(1, ge=1)
    versions: tuple[Version, ...] = release_param(("mirrored", "upside_down", "rotated"))
    centre: bool = release_param(True)
    trim: Literal["none", "top", "bottom"] = release_param("bottom")
    ratio: float = release_param(0.25, ge=0, lt=1)

    @model_validator(mode="after")
    def _not_empty(self) -> "RaMIA":
        if not self.versions and not self.centre:
            raise PydanticCustomError("range", "versions = [] and centre = false leave no image in the range")
        return self

    @property
    def needs(self) -> Needs:
        """The timestep."""
        return Needs(latest=self.t)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Trimmed mean of minus the loss."""
        found = [losses(view, self.t, self.draws)] if self.centre else []
        found += [self._losses(view, version, images) for version in self.versions]
        return trimmed_mean(-torch.stack(found, dim=1), self.trim, self.ratio)

    def _losses(self, view: DenoiserView, version: Version, images: Tensor) -> Tensor:
        """Losses (N,) of a version of the images, with the noise of the images."""
        moved = view.memoize(version, images, partial(_make, version, images, view))
        errors = []
        for draw in range(self.draws):
            noise = view.noise(draw)
            make = partial(add_noise, view.schedule, moved, full_timesteps(self.t, moved), noise)
            errors.append(squared_error(view.eps(view.memoize((version, self.t, draw), moved, make), self.t), noise))
        return torch.stack(errors).mean(dim=0)


def trimmed_mean(scores: Tensor, trim: str, ratio: float) -> Tensor:
    """Mean (N,) of scores (N, n) without the `ratio` that is highest ("top") or lowest ("bottom"); "none": of all."""
    if trim == "none":
        return scores.mean(dim=1)
    kept = max(1, int((1 - ratio) * scores.shape[1]))
    return scores.topk(kept, dim=1, largest=trim == "bottom").values.mean(dim=1)


def _make(version: Version, images: Tensor, view: DenoiserView) -> Tensor:
    """A version (N, C, H, W) of images; an image's angle is its own, whatever the batch."""
    if version == "rotated":
        turn = 2 * view.stream("ramia").uniform(view.ids).to(images.device) - 1
        return rotate(images, _DEGREES * turn)
    return images.flip(3 if version == "mirrored" else 2).contiguous()


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Images (N, C, H, W) turned around their centre by `degrees` (N,), in pixels and not in shares of the sides."""
    angle = torch.deg2rad(degrees)
    height, width = images.shape[-2:]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, -sin * height / width, zero, sin * width / height, cos, zero]
    turn = torch.stack(rows, dim=1).view(-1, 2, 3).to(images.dtype)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
