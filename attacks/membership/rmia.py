"""RMIA, adapted to diffusion by us: does the model favour this image more than it favours images of the public?

Zarifzadeh et al., ICML 2024 (2312.03262), is about classifiers, whose signal is a probability. With P(x|theta) in
(0, 1], population images z that no model was trained on, and reference (shadow) models:

    r(x) = P(x|target) / P(x),   S(x) = share of z with r(x) / r(z) > gamma
    offline: P(x) = ((1 + a) mean_OUT P(x|ref) + 1 - a) / 2;   online: P(x) = (mean_IN P(x|ref) + mean_OUT P(x|ref)) / 2

gamma = 1 and a = 0.3 as in the authors' library (which can tune a on a reference model; we do not).

Choices of ours, as there is no published form for diffusion: P(x|theta) = exp(-loss / temperature), the denoising loss
at t as in LiRA but its mean over pixels (a sum would leave signals near 0, where the offline formula's 1 - a swallows
them), temperature 1; z are the public images; z lies in no shadow model, so P(z) is the offline formula in both modes,
and so is P(x) online where x lies in no shadow model; one that lies in all has the mean of these. S is a share: it
comes in steps of one public image, and ties at 0 and 1, where an over-fitted model puts all its members. So less than a
step is added that grows with r(x), r / (r + 1): S keeps its order, and what it holds for equal is told apart.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, AuxiliaryModel, Calibration, MembershipAttack, Needs, release_param, shadow_models
from leakbench.api.views import DenoiserView
from leakbench.runtime.errors import UsageError

from ._shadows import shadow_losses
from ._shared import losses


class RMIA(MembershipAttack):
    """Pairwise likelihood ratios with public images; `draws` network calls an image, and as many of each shadow
    model."""

    name = "rmia"
    summary = "likelihood ratio against public images, over shadow models (RMIA, our adaptation to diffusion)"
    access = Access.DENOISER
    learns_from = "public"

    t: int = release_param(100, ge=0, lt=1000)
    draws: int = release_param(4, ge=1)
    shadows: int = release_param(16, ge=1)
    mode: Literal["online", "offline"] = release_param("online")
    a: float = release_param(0.3, ge=0, le=1)
    gamma: float = release_param(1.0, gt=0)
    temperature: float = release_param(1.0, gt=0)
    _public: Any = PrivateAttr(default=None)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """The reference models."""
        return shadow_models(self.shadows)

    @property
    def needs(self) -> Needs:
        """The timestep."""
        return Needs(latest=self.t)

    def fit(self, calibration: Calibration) -> RMIA:
        """Ask about the public images. Raises UsageError if there are none."""
        if not len(calibration.public.images):
            raise UsageError(f"{self.name} compares with public images, and the split's reference part is empty")
        fitted = copy.copy(self)
        fitted._public = calibration.public.ask(self._ratio).sort().values
        return fitted

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The share of public images that the image beats by more than gamma, and a part of a step, float64 (N,)."""
        ratio = self._ratio(view, images, labels)
        beaten = torch.searchsorted(self._public, ratio / self.gamma)
        return (beaten + ratio / (ratio + 1)) / len(self._public)

    def _ratio(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """r (N,), float64."""
        found, inside = shadow_losses(view, self.auxiliary_models(), self.t, self.draws)
        pixels = images[0].numel()
        ours = self._signal(losses(view, self.t, self.draws) / pixels)
        return ours / self._marginal(self._signal(found / pixels), inside)

    def _signal(self, loss: Tensor) -> Tensor:
        """P(x|theta) in (0, 1], of the same shape as the losses."""
        signal = (-loss.double() / self.temperature).exp()
        # A loss below 0 is impossible; one so large that its signal vanishes would divide by zero.
        return signal.clamp_min(torch.finfo(signal.dtype).tiny)

    def _marginal(self, signals: Tensor, inside: Tensor) -> Tensor:
        """P(x) (N,) from the references' signals (N, K) and their masks."""
        mean_in, mean_out = _mean(signals, inside), _mean(signals, ~inside)
        offline = ((1 + self.a) * mean_out + 1 - self.a) / 2
        online = torch.where(mean_in.isnan(), offline, (mean_in + mean_out) / 2)
        return torch.where(mean_out.isnan(), mean_in, offline if self.mode == "offline" else online)


def _mean(signals: Tensor, chosen: Tensor) -> Tensor:
    """Means (N,) of chosen signals; NaN where none is."""
    return torch.where(chosen, signals, 0.0).sum(dim=1) / chosen.sum(dim=1)
