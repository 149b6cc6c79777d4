"""Contract of attacks that flag memorised prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leakbench.api.attack import Attack
from leakbench.api.needs import Needs

if TYPE_CHECKING:
    from torch import Tensor


class MemorisationAttack(Attack):
    """An attack that scores whether a model has memorised a prompt, so that it returns one image; higher = more likely.

    It is told prompts and no image. Asked about are the distinct captions of reported members, and those of images that
    were never trained on, the null prompts.
    """

    family = "memorisation"

    @property
    def needs(self) -> Needs:
        """Captions or labels."""
        return Needs(condition=True)

    def score(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Score one compute batch of prompts: (N,). `labels` (N,) are their numbers, under which `view.eps` answers
        unless asked otherwise. Of `images` (N, C, H, W) nothing but the shape is to be read."""
        raise NotImplementedError
