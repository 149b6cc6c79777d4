"""Quantile regression: is the t-error smaller than an image like this would have, had the model not seen it?

Tang et al., ICML 2024 (2312.05140). Small networks predict, from the image, the alpha-quantile of the t-error (SecMI's
statistic) of images that are no members, by the pinball loss

    max(alpha u, (alpha - 1) u),   u = t-error - prediction;

an image whose t-error is below its own predicted quantile is called a member, by majority vote of a bag of bootstrap
fits. No shadow model and no membership label: it learns from public images, on which no model was trained.

Choices of ours:
- The logarithm of the t-error is regressed, whose quantiles are the quantiles' logarithms: errors span decades.
- Each network of the bag is shifted by what its bootstrap left out, so that a share alpha of those falls below (split
  conformal prediction): small networks fit few public images closely, and the share of flagged nonmembers would be
  anything. The paper has no such step. Shifts leave each network's own ranking as it was.
- The score is the median over the bag of (predicted quantile - log t-error). It ranks images, and is above zero exactly
  where most of the bag calls the image a member: the paper's vote.
- The networks are the house's small one (leakbench.models.classifiers; the paper's are ResNets), 300 steps each; a bag
  of 5 and alpha = .05, since the sources at hand give neither. With fewer than 1 / alpha images left out the smallest
  of them serves: the vote may then flag more than alpha.
"""

import copy
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from leakbench.api import Calibration, release_param
from leakbench.api.views import DenoiserView
from leakbench.data.image_view import ImagesLike
from leakbench.models.classifiers import SmallConvNet
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import RngStream, in_batches, place, seeded
from leakbench.runtime.errors import UsageError

from .secmi import SecMI

_FEWEST = 8  # public images
_ROWS = 256  # images at once when the bag predicts
_RECIPE = Recipe(steps=300, batch=64, lr=3e-3)


class Quantile(SecMI):
    """Quantile regression of the t-error; t / k + 1 network calls an image, those of SecMI's statistic."""

    name = "quantile"
    summary = "t-error below its predicted quantile for an image that is no member"
    learns_from = "public"

    alpha: float = release_param(0.05, gt=0, lt=0.5)  # nominal false positive rate of the vote
    bag: int = release_param(5, ge=1)

    _bag: Any = PrivateAttr(default=())  # of (network, shift)

    def fit(self, calibration: Calibration) -> "Quantile":
        """A copy with a bag fitted on public images. Raises UsageError where there are hardly any."""
        public = calibration.public
        if len(public.images) < _FEWEST:
            raise UsageError(
                f"attack 'quantile' learns from public images, at least {_FEWEST}, and the split has "
                f"{len(public.images)}: give it a `reference` part"
            )
        errors = public.ask(self._log_error)
        streams = [calibration.streams.of("quantile", number) for number in range(self.bag)]
        fitted = copy.copy(self)
        fitted._bag = [self._attacker(public.images, errors, stream) for stream in streams]
        return fitted

    def _log_error(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        error = -super().score(view, images, labels)
        return error.clamp_min(torch.finfo(error.dtype).tiny).log()

    def _attacker(self, images: ImagesLike, errors: Tensor, stream: RngStream) -> tuple[nn.Module, Tensor]:
        """A network fitted on a bootstrap, and the shift under which a share alpha of the rest falls below."""
        count = len(images)
        rows = stream.integers(torch.zeros(1, dtype=torch.int64, device=images.device), count, (count,))[0]
        left = torch.ones(count, dtype=torch.bool, device=images.device)
        left[rows] = False
        network = _regressor(images, errors, rows, self.alpha, stream)
        beyond = (errors[left] - _predicted(network, images, left.nonzero()[:, 0])).sort().values
        rank = max(1, int(self.alpha * (len(beyond) + 1)))  # a share of at most alpha lies strictly below
        return network, beyond[rank - 1]

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Median over the bag of the log of predicted quantile over t-error; above zero: most of the bag agree."""
        error = self._log_error(view, images, labels)
        rows = torch.arange(len(images), device=images.device)
        margins = torch.stack([_predicted(network, images, rows) + shift - error for network, shift in self._bag])
        # The lower median: above zero where more than half are. Not median(), which CUDA has no deterministic form of.
        return margins.sort(dim=0).values[(self.bag - 1) // 2]


def _regressor(images: ImagesLike, target: Tensor, rows: Tensor, alpha: float, stream: RngStream) -> nn.Module:
    """A network that predicts the alpha-quantile of `target` (N,) from images (N, C, H, W), learnt on some rows."""
    with seeded(stream):
        network = place(SmallConvNet(images.shape[1], 1), images.device)
    with torch.no_grad():
        network.exit.bias.fill_(torch.quantile(target[rows], alpha))  # starts at the quantile of all

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        chosen = rows[batch.index]
        u = target[chosen] - module(images[chosen])[:, 0]
        return torch.maximum(alpha * u, (alpha - 1) * u).mean()

    return train(network, loss, _RECIPE, stream=stream, count=len(rows))


def _predicted(network: nn.Module, images: ImagesLike, rows: Tensor) -> Tensor:
    """Predictions for the images of these rows."""
    with torch.no_grad():
        return in_batches(lambda some: network(images[some])[:, 0], rows, size=_ROWS)
