"""Monte Carlo: samples crowd around members.

Hilprecht et al., PoPETs 2019 (1906.03006). Over n samples g of the release, with a distance d and a radius r:

    form = "share":     S(x) = (1/n) #{g: d(g, x) <= r}
    form = "distance":  S(x) = -(1/n) sum over those g of log(d(g, x) / r)

d is Euclidean on 120 principal components, as theirs for CIFAR. They fit these on the images under test and take r from
them as well; we fit both on public images. Choices of ours: r is the distance within which the median public image has
`percentile` % of the samples (at least one: then it is their median heuristic), a percentile that needs no table of all
pairs; components are fitted on 10,000 public images at the most; the logarithm is taken of d / r, not of d: only then
does a sample within r always count for membership, in whatever units; d below r / 1,000,000 counts as that (an exact
copy would have an infinite score); images above 64 pixels are halved until 64 are left (leakbench.data.reduced). Fewer
components where there are fewer pixels or public images. A share comes in steps of one sample, and ties at 0.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from pydantic import PrivateAttr
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, release_param
from leakbench.api.views import SamplesView
from leakbench.data.image_view import ImageView
from leakbench.data.reduced import reduce_all
from leakbench.runtime.errors import UsageError

_COMPONENTS = 120
_CLOSEST = 1e-6  # of the radius
_MOST = 10_000  # public images, evenly spaced, that the components are fitted on
_ROWS = 64  # images whose distances to all samples are held at one time


class MonteCarlo(MembershipAttack):
    """Samples within a radius; no queries."""

    name = "monte_carlo"
    summary = "how many samples fall close to the image (Monte Carlo)"
    access = Access.SAMPLES
    learns_from = "public"

    form: Literal["share", "distance"] = release_param("share")
    percentile: float = release_param(0.1, gt=0, lt=100)
    _axes: Any = PrivateAttr(default=None)  # (C H W of a reduced image, components), float64
    _radius: Any = PrivateAttr(default=None)

    def fit(self, calibration: Calibration) -> MonteCarlo:
        """Components and radius, from public images. Raises UsageError for fewer than two."""
        from sklearn.decomposition import PCA

        public = calibration.public.images
        if len(public) < 2:
            raise UsageError(f"{self.name} learns its distance from public images, and the split has {len(public)}")
        some = ImageView.concatenate([public]).subset(slice(None, None, -(-len(public) // _MOST)))
        images = reduce_all(some).flatten(1).double()
        pca = PCA(min(_COMPONENTS, *images.shape), random_state=0).fit(images.cpu().numpy())
        fitted = copy.copy(self)
        fitted._axes = torch.from_numpy(pca.components_.T.copy()).to(images.device)
        fitted._radius = calibration.public.ask(fitted._reach).median()
        return fitted

    def _distances(self, images: Tensor, samples: Tensor) -> list[Tensor]:
        """Distances (rows, M), float64, of some images at a time to all samples."""
        x, g = (reduce_all(pictures).flatten(1).double() @ self._axes for pictures in (images, samples))
        return [torch.cdist(part, g, compute_mode="donot_use_mm_for_euclid_dist") for part in x.split(_ROWS)]

    def _reach(self, view: SamplesView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The distance (N,) within which each image has `percentile` % of the samples."""
        count = max(1, round(self.percentile / 100 * len(view.samples)))
        return torch.cat([d.sort(dim=1).values[:, count - 1] for d in self._distances(images, view.samples)])

    def score(self, view: SamplesView, images: Tensor, labels: Tensor | None) -> Tensor:
        """The share of samples within the radius, or their mean closeness, float64 (N,)."""
        return torch.cat([self._crowd(d).mean(dim=1) for d in self._distances(images, view.samples)])

    def _crowd(self, distances: Tensor) -> Tensor:
        """Weight of each sample, (rows, M)."""
        within = (distances <= self._radius).double()
        if self.form == "share":
            return within
        return -within * (distances / self._radius).clamp(_CLOSEST, 1.0).log()
