"""SIDE: guide an unconditional model towards the clusters of its own samples, where it repeats training images more.

Chen et al. (2410.02467): sample the model; embed the samples and cluster them (k-means, 100 clusters); drop the
clusters of cohesion below 0.5; train a time-dependent classifier on the rest; sample again under its guidance. Here the
guidance is that of Dhariwal and Nichol (2105.05233) for DDIM, with the gradient of the attacker's own classifier alone:

    eps' = eps_theta(x_t, t) - scale * sqrt(1 - alpha_bar_t) * grad_x log p(cluster | x_t, t)

so that DENOISER access suffices, where the paper works on the weights. A guided sample starts from the noise of the
ordinary sample of the same number: at scale 0 it is that sample. The record compares both at equal number: AMS (share
of images in a band of similarity) and UMS (distinct training images hit, an image), with AMS of held-out real images.

Choices of ours. Features: the suite's, around their mean and of length 1; cohesion: the mean cosine with the cluster's
centre. At least ten samples a cluster on average, so fewer than 100 clusters below 1,000 samples, and no cluster of
fewer than five. Each image's cluster is drawn uniformly. The classifier is a small convolutional network in place of a
ResNet-34, trained by Adam at 2e-3. Similarity: Carlini's -r (see carlini_pixel) and its threshold; the bands are
calibrated on held-out images, as the paper's belong to its embeddings. Without a coherent cluster the samples are
handed in as they are, and the record's `clusters_kept` says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Needs, ReplicationAttack, SampleSet, release_param
from leakbench.api.views import DenoiserView
from leakbench.data.image_view import ImagesLike
from leakbench.data.neighbours import Matches
from leakbench.models.diffusion import ddim_step
from leakbench.runtime.device import autocast

from ._clusters import cluster, towards, train_timed
from ._relative import PUBLISHED, relative_similarity


class SIDE(ReplicationAttack):
    """Extraction guided by a classifier of the model's own clusters; one walk an image."""

    name = "side"
    summary = "sampling guided towards clusters of the model's own samples (SIDE)"
    access = Access.DENOISER

    clusters: int = release_param(100, ge=2)
    cohesion: float = release_param(0.5, ge=-1, le=1)
    scale: float = release_param(1.0, ge=0)
    steps: int = release_param(500, ge=1)
    alpha: float = release_param(0.5, gt=0)
    neighbours: int = release_param(50, ge=2)
    _drawn: Any = PrivateAttr(default=None)
    _clusters: Any = PrivateAttr(default=None)
    _classifier: Any = PrivateAttr(default=None)

    @property
    def published(self) -> float:
        """r < 1, of Carlini et al."""
        return PUBLISHED

    @property
    def needs(self) -> Needs:
        """As many training images as neighbours."""
        return Needs(neighbours=self.neighbours)

    def fit(self, drawn: SampleSet) -> SIDE:
        """Cluster the samples; train the classifier of clusters."""
        assert drawn.schedule is not None
        fitted, streams = copy.copy(self), drawn.streams
        features = drawn.embed(drawn.samples).double().cpu().numpy()
        found = cluster(features, self.clusters, self.cohesion, streams.of("attacking", "side", "k-means"))
        fitted._drawn, fitted._clusters, fitted._classifier = drawn, found, None
        if found.kept:
            kept = torch.from_numpy(found.of >= 0).to(drawn.samples.device)
            classes = torch.from_numpy(found.of).to(kept.device)[kept]
            stream = streams.of("attacking", "side", "classifier")
            fitted._classifier = train_timed(drawn.samples[kept], classes, drawn.schedule, stream, self.steps)
        return fitted

    def candidates(self, view: DenoiserView, samples: Tensor, labels: Tensor | None) -> Tensor:
        """Draw as many guided samples, from the same noise."""
        if self._classifier is None:
            return samples
        wanted = view.stream("side", "cluster").integers(view.ids, self._clusters.kept)
        x = self._drawn.streams.of("sampling").normal(view.ids, tuple(samples.shape[1:]))
        for s, u in pairwise([*view.schedule.timesteps(), -1]):
            with autocast(x.device):
                eps = view.eps(x, s)
            sigma = (1 - float(view.schedule.alpha_bar[s])) ** 0.5
            eps = eps - self.scale * sigma * towards(self._classifier, x, s, wanted)
            x = ddim_step(view.schedule, x, s, u, eps, view.schedule.clip)
        return x.clamp(-1.0, 1.0)

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """-r, in pixels."""
        return relative_similarity(queries, train, self.alpha, self.neighbours)

    def facts(self) -> dict[str, Any]:
        """Numbers of clusters that were made and kept."""
        return {"clusters": self._clusters.made, "clusters_kept": self._clusters.kept}

    def space(self, features: str) -> str:
        """pixels."""
        return "pixels"
