"""Reconstruction: what the model makes of a member's caption looks like the member.

2312.08207 (NDSS 2025), black box, for fine-tuned text-to-image models: m = 3 images are drawn under the caption of the
candidate x (or from x itself), and compared with it in features E,

    S(x) = (1/m) sum_j cos(E(x), E(g_j))

`by` = "caption": g_j is drawn under x's caption or class, the paper's attack with captions at hand. "image": g_j is a
variation of x at `strength`, for services that take an image; under the caption too, where the model is told one.

Choices of ours: E is the pixels less the image's mean, or DINOv2 (`features`), where the paper takes DeiT's tokens;
so there is one cosine an image and not one a feature, and the mean over the m is the score, of which the paper
takes a threshold ("threshold-based"; its normal and its neural decision, which learn from a shadow model, are left
out). Steps and guidance are the service's own. strength = 0.75 is not tuned. Published AUCs (0.93 to 0.95 on faces) are
of fine-tunes of 500 epochs on 100 images; a re-run by others finds 0.61 to 0.84.
"""

from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.api import Access, AuditSetting, MembershipAttack, Needs, Skip, release_param
from leakbench.api.views import ApiView
from leakbench.metrics.weights.dinov2 import DINOv2
from leakbench.metrics.weights.resources import DINOV2, at_hand, missing


class Reconstruction(MembershipAttack):
    """Likeness of an image and what the service draws under its caption; `draws` walks an image."""

    name = "reconstruction"
    summary = "likeness of the image and what is drawn under its caption, or made of it (2312.08207)"
    access = Access.API
    averages_answers = True

    by: Literal["caption", "image"] = release_param("caption")
    draws: int = release_param(3, ge=1, le=128)
    strength: float = release_param(0.75, gt=0, le=1)
    features: Literal["pixels", "dinov2"] = release_param("pixels")

    @property
    def needs(self) -> Needs:
        """A caption or class, or a service that takes images."""
        return Needs(condition=True) if self.by == "caption" else Needs(requests=("vary",))

    def skip(self, setting: AuditSetting) -> Skip | None:
        """As `needs` says; DINOv2's weights are not there."""
        found = super().skip(setting)
        lacks = self.features == "dinov2" and at_hand(DINOV2) is None
        return Skip(missing(DINOV2)) if found is None and lacks else found

    def score(self, view: ApiView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Mean cosine, (N,) float64."""
        own = self._embed(images)
        answers = (self._answer(view, images, draw) for draw in range(self.draws))
        return torch.stack([F.cosine_similarity(own, self._embed(one)) for one in answers]).mean(dim=0)

    def _answer(self, view: ApiView, images: Tensor, draw: int) -> Tensor:
        return view.sample_each(draw) if self.by == "caption" else view.vary(images, self.strength, draw)

    def _embed(self, images: Tensor) -> Tensor:
        """Features (N, D) float64."""
        if self.features == "dinov2":
            return _dinov2(images.device)(images).double()
        pixels = images.flatten(1).double()
        return pixels - pixels.mean(dim=1, keepdim=True)


@cache
def _dinov2(device: torch.device) -> DINOv2:
    return DINOv2(device)
