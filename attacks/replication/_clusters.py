"""Clusters of a model's own samples, and a classifier of noised samples into clusters: what SIDE learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.models.classifiers import SmallConvNet
from leakbench.models.diffusion import Schedule, add_noise, full_timesteps
from leakbench.models.networks import timestep_embedding
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import RngStream, place, seeded

_WAVES = 16  # planes beside the image's channels that tell the timestep
_SAMPLES = 10  # a cluster, on average, at the least
_SMALLEST = 5  # samples of a cluster that is kept


@dataclass(frozen=True)
class Clusters:
    """The cluster `of` each of N samples, numbered from 0; -1: its cluster was dropped. `kept` of `made` remain."""

    of: np.ndarray
    kept: int
    made: int


def cluster(features: np.ndarray, clusters: int, cohesion: float, stream: RngStream) -> Clusters:
    """k-means of features (N, D) around their mean, scaled to length 1. A cluster is kept if its samples' mean cosine
    with its centre is `cohesion` or more, and they are not fewer than five."""
    from sklearn.cluster import KMeans

    centred = features - features.mean(axis=0)
    points = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    made = min(clusters, max(1, len(points) // _SAMPLES), len(np.unique(points, axis=0)))
    found = KMeans(made, n_init=1, random_state=stream.key[0]).fit(points)
    centres = found.cluster_centers_[found.labels_]
    cosine = (points * centres).sum(axis=1) / np.maximum(np.linalg.norm(centres, axis=1), 1e-12)
    sizes = np.bincount(found.labels_, minlength=made)
    means = np.bincount(found.labels_, cosine, minlength=made) / np.maximum(sizes, 1)
    coherent = (means >= cohesion) & (sizes >= _SMALLEST)
    numbers = np.where(coherent, np.cumsum(coherent) - 1, -1)
    return Clusters(numbers[found.labels_], int(coherent.sum()), made)


class TimedClassifier(nn.Module):
    """Logits (N, classes) of noised images x (N, C, H, W) at timesteps t (N,): the small convolutional classifier, with
    the timestep as constant planes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.inner = SmallConvNet(channels + _WAVES, classes)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        planes = timestep_embedding(t, _WAVES)[:, :, None, None].expand(-1, -1, *x.shape[-2:])
        logits: Tensor = self.inner(torch.cat([x, planes], dim=1))
        return logits


def train_timed(images: Tensor, classes: Tensor, schedule: Schedule, stream: RngStream, steps: int) -> TimedClassifier:
    """Train on images (N, C, H, W) with random noise, and classes (N,) from 0 without gaps, on the images' device."""
    with seeded(stream):
        network = TimedClassifier(images.shape[1], int(classes.max()) + 1)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        x_t = add_noise(schedule, images[batch.index], batch.t, batch.noise)
        return F.cross_entropy(module(x_t, batch.t), classes[batch.index])

    recipe = Recipe(steps=steps, batch=128, lr=2e-3, ema=0.99)
    shape = tuple(images.shape[1:])
    train(
        place(network, images.device),
        loss,
        recipe,
        stream=stream,
        count=len(images),
        timesteps=schedule.T,
        noise_shape=shape,
    )
    return network.requires_grad_(False)


def towards(classifier: TimedClassifier, x: Tensor, t: int, wanted: Tensor) -> Tensor:
    """The gradient of log p(wanted | x_t) with respect to x (N, C, H, W), for wanted classes (N,)."""
    with torch.enable_grad():
        inside = x.detach().requires_grad_()
        chances = classifier(inside, full_timesteps(t, inside)).log_softmax(dim=1)
        return torch.autograd.grad(chances.gather(1, wanted[:, None]).sum(), inside)[0]
