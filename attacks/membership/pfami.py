"""PFAMI: members sit at a local minimum of the loss, so that cropping raises it more than it does for others.

Fu et al. 2023 (2308.12143), the statistic. L_t is the denoising loss at t, crop_j keeps the centre int(side * s_j) of
each side and is resized back, with strengths s_j = .95, .922, .., .70 (ten, evenly spaced) and t = 0, 50, .., 450:

    published:  S(x) = mean over t of (L_t(crop_j(x)) - L_t(x)) / L_t(x),  j = 5 alone (strength .811), as in the
                authors' code, which gives no reason for that index;
    averaged:   the same, averaged over all ten crops.

Choices of ours: x and its crop get the same noise, draw 0 of what all attacks share (the code draws anew at every
call); the change is relative, as in the code (the paper's formula is the difference), and at a timestep where L_t(x) is
zero it counts as none (the code zeroes what is no number); the crop is resized bilinearly; crops of one size are one
crop, asked about once, which matters on small images. No reference model is subtracted, which the code does by default:
that is another access.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView
from leakbench.models.diffusion import add_noise, full_timesteps

from ._shared import losses, squared_error

TIMESTEPS = range(0, 451, 50)
STRENGTHS = [0.95 - 0.25 * j / 9 for j in range(10)]
PUBLISHED = 5  # index into STRENGTHS


class PFAMI(MembershipAttack):
    """Probabilistic fluctuation; 20 network calls an image, or 110 averaged (less where crops are of one size)."""

    name = "pfami"
    summary = "how much cropping raises the loss (PFAMI)"
    access = Access.DENOISER

    form: Literal["published", "averaged"] = release_param("published")

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(TIMESTEPS))

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean relative rise of the loss."""
        strengths = [STRENGTHS[PUBLISHED]] if self.form == "published" else STRENGTHS
        sides = [(int(images.shape[2] * strength), int(images.shape[3] * strength)) for strength in strengths]
        before = torch.stack([losses(view, t) for t in TIMESTEPS])
        rises = {}
        for side in dict.fromkeys(sides):
            after = _losses_of(view, centre_crop(images, side), side)
            rises[side] = torch.where(before > 0, (after - before) / before, 0.0).mean(dim=0)
        return torch.stack([rises[side] for side in sides]).mean(dim=0)


def _losses_of(view: DenoiserView, cropped: Tensor, side: tuple[int, int]) -> Tensor:
    """Losses (timesteps, N) of the crops, with the noise of the images."""
    noise, found = view.noise(), []
    for t in TIMESTEPS:
        make = partial(add_noise, view.schedule, cropped, full_timesteps(t, cropped), noise)
        x_t = view.memoize(("crop", side, t), noise, make)
        found.append(squared_error(view.eps(x_t, t), noise))
    return torch.stack(found)


def centre_crop(images: Tensor, side: tuple[int, int]) -> Tensor:
    """The centre of images (N, C, H, W), `side` = (height, width), resized back to (N, C, H, W)."""
    (height, width), (h, w) = images.shape[2:], side
    top, left = round((height - h) / 2), round((width - w) / 2)
    centre = images[:, :, top : top + h, left : left + w]
    return F.interpolate(centre, size=(height, width), mode="bilinear", align_corners=False)
