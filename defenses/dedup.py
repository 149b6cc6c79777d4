"""Deduplication: near-duplicates leave the training set before a plain training.

Carlini et al. (2301.13188) extract fewer images from a model of deduplicated CIFAR-10 (1,280 -> 986 unique); they
remove what the imagededup library finds alike above 0.85.

Choices of ours: alike is a root mean square pixel difference of at most `radius`, pixels in [-1, 1], greedily in the
order of the data set (the first of a cluster stays); no mirror images are looked for. The data set's own removal, which
comes before the split, has a radius of its own (near_duplicates.csv says it), and a smaller one removes nothing. The
recipe is the baseline's, with the same number of steps. Images that are removed still count as members in an audit: the
trainer held them, and what a twin that stays says of them is leakage all the same.
"""

from __future__ import annotations

import time
from dataclasses import replace
from math import prod

from leakbench.api import Artefacts, Task, fit_param
from leakbench.data.near_duplicates import near_duplicates
from leakbench.runtime.errors import UsageError

from .baseline import Baseline


class Dedup(Baseline):
    """The baseline without near-duplicates."""

    name = "dedup"
    summary = "plain training without near-duplicates"
    role = "defense"
    changes = "data"

    radius: float = fit_param(0.3, ge=0)

    def fit(self, task: Task) -> Artefacts:
        """Remove, then train. Raises UsageError where fewer than two images are left."""
        began = time.perf_counter()
        keep = near_duplicates(task.images.to(task.device), self.radius * prod(task.network.shape) ** 0.5).cpu()
        left = int(keep.sum())
        if left < 2:
            raise UsageError(f"dedup: radius = {self.radius} leaves {left} of {len(keep)} images; use a smaller one")
        searched = time.perf_counter() - began
        made = super().fit(task.subset(keep))
        facts = {"images_removed": len(keep) - left, "images_left": left}
        return replace(made, info=made.info | facts | {"train_seconds": made.info["train_seconds"] + searched})
