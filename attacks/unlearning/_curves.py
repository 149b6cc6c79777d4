"""Probability of the forgotten label among samples, against steps of training that bring it back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from leakbench.api import RecoveryCurve, Release, UnlearningContext
from leakbench.data.image_batch import Images
from leakbench.models.denoiser_training import errors, trainable
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, Watch, train
from leakbench.runtime.device import RngStream
from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class Effort:
    """Training of an attacker: images, recipe, and samples at each look; `embedding` trains the label's alone."""

    images: Images
    recipe: Recipe
    stream: RngStream
    samples: int
    embedding: bool = False

    @property
    def steps(self) -> list[int]:
        """When to look: after 0, 1, 2, 4, .. steps, and at the end."""
        doubled = [2**k for k in range(self.recipe.steps.bit_length())]
        return sorted({0, *doubled, self.recipe.steps})


def measure_curve(ground: UnlearningContext, effort: Effort) -> RecoveryCurve:
    """The same effort on the release and on the retrained model: same images, draws and sample numbers."""
    steps, ours = brought_back(ground, ground.model.release, effort)
    _, null = brought_back(ground, ground.retrained.release, effort)
    real = ground.reference_classifier(ground.unseen.images)[:, _label(ground)]
    return RecoveryCurve(steps, ours, null, real.double().cpu().numpy())


def brought_back(ground: UnlearningContext, release: Release, effort: Effort) -> tuple[np.ndarray, np.ndarray]:
    """Steps (K,) at which samples were drawn, 0 first, and the label's probability for each of them (K, samples).

    Whoever holds the weights runs the raw network behind the plain sampler.
    """
    plain = Release.with_batch(release.undefended(), min(effort.samples, release.batch))
    network = trainable(release.network, ground.device)
    asked = torch.full((effort.samples,), _label(ground))
    found: list[Tensor] = []

    def look(module: nn.Module) -> None:
        samples = replace(plain, network=module).sample(effort.samples, asked, first=ground.first)
        found.append(ground.reference_classifier(samples)[:, _label(ground)])

    if effort.embedding:
        network.requires_grad_(False)
        find_label_embedding(network, release.conditions).requires_grad_(True)
    look(network.eval())
    _train(network, release, effort, look)
    return np.array(effort.steps), torch.stack(found).double().cpu().numpy()


def _train(network: nn.Module, release: Release, effort: Effort, look: Callable[[nn.Module], None]) -> None:
    """The effort; looks after the steps that it names, but for 0."""
    known, labels, done = effort.images.images, effort.images.labels, itertools.count(1)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        label = None if labels is None else labels[batch.index]
        return errors(module, release.schedule, known[batch.index], batch.t, batch.noise, label).mean()

    def watch(module: nn.Module) -> bool:
        if next(done) in effort.steps:
            look(module)
        return False

    train(
        network,
        loss,
        effort.recipe,
        stream=effort.stream,
        count=len(known),
        timesteps=release.schedule.T,
        noise_shape=release.shape,
        watch=Watch(1, watch),
    )


def find_label_embedding(network: nn.Module, conditions: int) -> nn.Embedding:
    """The embedding by which the label enters. Raises UsageError where there is not exactly one."""
    found = [m for m in network.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == conditions]
    if len(found) != 1:
        raise UsageError(f"the network has {len(found)} embeddings of {conditions} labels, and not one")
    return found[0]


def _label(ground: UnlearningContext) -> int:
    assert ground.label is not None  # see skip()
    return ground.label
