"""Replication: does the model hand its training images back?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leakbench.api.attack import Attack
from leakbench.api.plugin import Access

if TYPE_CHECKING:
    from torch import Tensor

    from leakbench.copying import Matches


class ReplicationAttack(Attack):
    """Does a sample repeat a training image? The harness asks the same of held-out real images: the null."""

    family = "replication"
    access = Access.SAMPLES

    def match(self, queries: Tensor, train: Tensor, embed: Callable[[Tensor], Tensor]) -> Matches:
        """Match queries (N, C, H, W) with training images (M, C, H, W). `embed` gives the suite's features (N, D)."""
        raise NotImplementedError

    def space(self, features: str) -> str:
        """The space of the similarity, for the record's `features`: the suite's features unless overridden."""
        return features
