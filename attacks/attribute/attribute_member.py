"""Attribute inference about members: under which value of the attribute does the model denoise an image better?

No paper's; the conditional analogue of a loss attack. With a network conditioned on the sensitive attribute s and
shared noise eps_j at timesteps t,

    S(x) = mean over t and j of ( || eps_j - eps_theta(x_t, t, s = 0) ||^2 - || eps_j - eps_theta(x_t, t, s = 1) ||^2 )

Choices of ours: both values get the same noise, or its chance would drown the difference; squared errors sum over
pixels, and timesteps carry no weights. The null are images that the model has never seen: what it says of their
attribute it has learnt about the attribute, and only the excess of members over them is about members.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from leakbench.api import Access, AttributeAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ..membership._shared import squared_error


class AttributeMember(AttributeAttack):
    """Difference of losses under either value; 2 `draws` network calls an image and timestep."""

    name = "attribute_member"
    summary = "reads the sensitive attribute of a member off the losses under either value"
    access = Access.DENOISER
    of = "images"

    t: tuple[Annotated[int, Field(ge=0, lt=1000)], ...] = release_param((50, 100, 200, 400), min_length=1)
    draws: int = release_param(4, ge=1)

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(self.t))

    def score(self, view: DenoiserView, images: Tensor, labels: None) -> Tensor:
        """Loss under 0 minus loss under 1, mean over timesteps and draws."""
        zero, one = (torch.full((len(images),), value, device=images.device) for value in (0, 1))

        def gap(t: int, draw: int) -> Tensor:
            x, noise = view.noised(t, draw), view.noise(draw)
            return squared_error(view.eps(x, t, zero), noise) - squared_error(view.eps(x, t, one), noise)

        return torch.stack([gap(t, draw) for t in self.t for draw in range(self.draws)]).mean(dim=0)
