"""Private selection of public images: PrivImage's first half, on which `dp_sgd` is the second.

PrivImage (Li et al. 2024, 2311.12850) asks the private images, under differential privacy, which classes of a public
set they resemble; pretrains on the images of these classes alone; and fine-tunes by DP-SGD. Here

    the public images of each label are clustered;   votes_k = private images of that label nearest to centre k
    h = votes + N(0, sigma^2);   the round(share K) clusters of the largest h are kept;   the network trains on these

and what comes out is a base for `dp_sgd`, which composes what both have spent by one accountant.

The claim. One image moves one vote, and the histogram is released once (`_histogram`). Clusters are made of public
images alone, and the training reads no private one.

Choices of ours. (1) The published classes are those of ImageNet, told by a classifier of public images; a data set's
reference part has no others than its labels, so that classes are clusters of pixels (Lloyd's k-means, 20 rounds, from
images drawn at random). (2) An image votes once, for clusters of its own label. (3) `share` of the clusters is kept of
each label; published is 5 % of the classes. (4) With `flip` the public set holds the mirror image of each image too,
and either may be kept. (5) The training is `pretrain`'s. (6) delta is n^-1.1 unless given.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from leakbench.api import Artefacts, Guarantee, Release, Task, fit_param
from leakbench.data.image_view import ImageView
from leakbench.data.neighbours import nearest
from leakbench.models.denoiser_training import train_denoiser

from ._budget import Budget, PrivateBudget
from ._groups import largest_group
from ._histogram import count_votes, histogram_guarantee, noise_of_counts
from .pretrain import Pretrain

_ROUNDS = 20


class PrivateSelection(PrivateBudget, Pretrain):
    """Pretraining on the public clusters that private images voted for."""

    name = "private_selection"
    summary = "plain training on the public images that private ones voted for, differentially privately (PrivImage)"
    role: ClassVar[Literal["baseline", "defense", "control"]] = "defense"

    clusters: int = fit_param(20, ge=1)  # of each label
    share: float = fit_param(0.2, gt=0, le=1)
    noise_multiplier: float | None = fit_param(None, gt=0)
    epsilon: Budget = fit_param(1.0)
    delta: float | None = fit_param(None, gt=0, lt=1)  # None: n^-1.1

    def fit(self, task: Task) -> Artefacts:
        """Select, then train on what was selected."""
        began, images = time.perf_counter(), len(task.images)
        delta = self.delta_of(images)
        sigma = noise_of_counts(self.epsilon, self.noise_multiplier, 1, delta)
        public = task.heldout[:]
        if self.flip:
            public = torch.cat([public, public.flip(-1)])
        told = None if task.heldout_conditions is None else task.heldout_conditions.repeat(1 + self.flip)
        kept = self._selected(task, public, told, sigma)
        labels = None if told is None else told[kept]
        others = replace(task, images=ImageView(public[kept]), labels=labels, attribute=labels)
        spent_on_votes = time.perf_counter() - began
        made = train_denoiser(others, self.recipe, self.name)
        guarantee = histogram_guarantee(self.name, None, sigma, 1, delta, largest_group(task))
        facts = {
            "train_seconds": made.info["train_seconds"] + spent_on_votes,
            "images_trained_on": len(kept),
            "guarantee": guarantee.to_json(),
            "flags": [f"weak-delta={delta:g}"] if guarantee.epsilon is not None and delta >= 1 / images else [],
        }
        return replace(made, info=made.info | facts)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out with what the votes have spent."""
        info = artefacts.info
        return task.release(
            artefacts.networks["denoiser"],
            guarantee=Guarantee.from_json(info["guarantee"]),
            flags=tuple(info["flags"]),
            info={"images_trained_on": info["images_trained_on"]},
        )

    def _selected(self, task: Task, public: Tensor, told: Tensor | None, sigma: float) -> Tensor:
        """Numbers, ascending, of the public images (M, C, H, W) in the clusters that are kept."""
        private, ours = task.images[:], task.conditions
        kept = []
        for label in range(max(1, task.network.conditions)):
            theirs = public if told is None else public[told == label]
            rows = torch.arange(len(public)) if told is None else (told == label).nonzero()[:, 0]
            if not len(rows):
                continue
            voters = private if ours is None else private[ours == label]
            names = (self.name, label)
            centres, cluster = k_means(theirs.flatten(1), self.clusters, task.streams.of("centres", *names))
            noise = task.streams.of("histogram", *names, self.model_dump_json()).normal(torch.arange(len(centres)))
            counts = count_votes(voters.flatten(1), centres).double() + sigma * noise.double()
            best = counts.topk(max(1, round(self.share * len(centres)))).indices
            kept.append(rows[torch.isin(cluster, best)])
        return torch.cat(kept).sort().values


def k_means(points: Tensor, clusters: int, stream: Any) -> tuple[Tensor, Tensor]:
    """Centres (K, D) and the number of each point's (M,), by Lloyd's rounds; K is `clusters` or M, if that is less.

    A centre that no point is nearest to stays where it is.
    """
    order = stream.uniform(torch.arange(len(points))).argsort()
    centres = points[order[: min(clusters, len(points))]].clone()
    for _ in range(_ROUNDS):
        cluster = nearest(points, centres).index[:, 0]
        sums = torch.zeros_like(centres).index_add_(0, cluster, points)
        count = torch.bincount(cluster, minlength=len(centres))
        centres = torch.where((count > 0)[:, None], sums / count.clamp(min=1)[:, None], centres)
    return centres, nearest(points, centres).index[:, 0]
