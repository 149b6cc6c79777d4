"""Loss threshold: members are denoised better.

Matsumoto et al. 2023 (2302.03262); Carlini et al. 2023 (2301.13188). Score, for n draws of shared noise:

    S(x) = -(1/n) sum_j || eps_j - eps_theta(x_t(eps_j), t) ||^2

t = 100 as in Carlini et al.; fixed in advance, never tuned on reported images. The squared norm sums over pixels.

Choices of ours: of several timesteps the losses are averaged without weights; draw j brings the same noise to each.

frequencies: "low" or "band" filter the error (FreMIA, FCRE: see _frequencies.py); "all" is the published loss.
"""

from typing import Any

from pydantic import field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

from ._frequencies import Frequencies
from ._shared import mean_losses


class Loss(MembershipAttack):
    """Denoising loss at one timestep, or the mean over several, averaged over noise draws; `draws` network calls an
    image and timestep."""

    name = "loss"
    summary = "denoising loss at one timestep or several"
    access = Access.DENOISER

    t: int | tuple[int, ...] = release_param(100)
    draws: int = release_param(1, ge=1)
    frequencies: Frequencies = release_param("all")

    @field_validator("t", mode="plain")
    @classmethod
    def _timesteps(cls, t: Any) -> int | tuple[int, ...]:
        given = tuple(t) if isinstance(t, (list, tuple)) else (t,)
        if not given or any(type(one) is not int or not 0 <= one < 1000 for one in given):
            raise PydanticCustomError("timesteps", "Input should be a timestep from 0 to 999, or a list of some")
        return given if isinstance(t, (list, tuple)) else given[0]

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timesteps, also where there is one."""
        return (self.t,) if isinstance(self.t, int) else self.t

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(self.timesteps))

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean loss."""
        return -mean_losses(view, self.timesteps, self.draws, self.frequencies)
