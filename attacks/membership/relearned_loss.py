"""Loss after relearning: do images that were to be forgotten come back when a model is trained on a few others of them?

Relearning (MemoRa, 2510.03263; DiMRA, 2512.03564; concept resurgence, 2410.08074) of models of which no twin can be
retrained. The released weights are trained for a few steps on `images` calibration members, with the denoising loss and
under their own captions or labels; then the loss attack is put to the images that it was not trained on,

    S(x) = - mean over t of || eps_theta'(x_t) - eps ||^2

Nonmembers, never-seen images of the same kind, are the null: any model learns these a little as well. Of a release
that was to forget, members are the images of the concept (in a suite with [forget], read `forget_auc`, and give
`label`), and `steps = 0` is the attack before relearning.

Choices of ours, the sources' constants being unknown: 5 images, 64 steps of Adam on batches of 16 at a learning rate of
1e-3 that falls to zero along a cosine, gradients clipped to norm 1; t = 100, 200, 300.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from leakbench.api import Access, Calibration, MembershipAttack, Needs, release_param
from leakbench.api.views import WeightsView
from leakbench.models.denoiser_training import errors, trainable
from leakbench.models.diffusion import full_timesteps
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import Rng

from ._few_members import FewMembers, take_few
from ._shared import squared_error


class RelearnedLoss(MembershipAttack):
    """Loss of a model that was trained on a few members once more; one network call an image and timestep, 3 by
    default."""

    name = "relearned_loss"
    summary = "loss after a few steps of training on calibration members: does what was forgotten come back?"
    access = Access.WEIGHTS

    images: int = release_param(5, ge=1)
    label: int | None = release_param(None, ge=0)
    steps: int = release_param(64, ge=0)
    batch: int = release_param(16, ge=1)
    lr: float = release_param(1e-3, gt=0)
    timesteps: tuple[int, ...] = release_param((100, 200, 300), min_length=1)

    _network: Any = PrivateAttr(default=None)

    @property
    def needs(self) -> Needs:
        """The timesteps."""
        return Needs(latest=max(self.timesteps))

    def fit(self, calibration: Calibration) -> RelearnedLoss:
        """A copy with a network that has relearned."""
        few = take_few(calibration, self.images, self.label)
        fitted = copy.copy(self)
        fitted._network = self._trained(few, calibration.streams) if self.steps else few.release.network
        return fitted

    def _trained(self, few: FewMembers, streams: Rng) -> nn.Module:
        release, labels = few.release, few.labels

        def loss(module: nn.Module, batch: Batch) -> Tensor:
            label = None if labels is None else labels[batch.index]
            return errors(module, release.schedule, few.x0[batch.index], batch.t, batch.noise, label).mean()

        with torch.enable_grad():
            network = trainable(release.network, release.device)
            train(
                network,
                loss,
                Recipe(self.steps, self.batch, self.lr, ema=0.0),
                stream=streams.of("attacking", "own", "relearned loss"),
                count=len(few.x0),
                timesteps=release.schedule.T,
                noise_shape=release.shape,
            )
        return network.eval().requires_grad_(False)

    def score(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean loss of the network that relearned, (N,) float64."""
        found = []
        for t in self.timesteps:
            answer = self._network(view.noised(t), full_timesteps(t, images), labels)
            found.append(-squared_error(answer, view.noise()))
        return torch.stack(found).double().mean(dim=0)
