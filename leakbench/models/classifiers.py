"""Small supervised models that attacks and metrics train: an image classifier and a model-free membership reader.

Choices of ours throughout; no paper prescribes them.

- `SmallConvNet`: three 3x3 convolutions, the last two of stride 2, each with group norm (batch norm keeps running
  statistics, which the averaged weights of training.py would not match) and ReLU, then a mean over what pixels remain.
  Images above 32 pixels are halved first; those above 64 are halved until 64 are left, and once more.
- `blind_reader`: what images alone say about membership, in the sense of Das et al. ("Blind baselines beat membership
  inference attacks", 2406.16201). Up to 48 principal components of the standardised pixels, and the mean, contrast,
  sharpness and clipping of the image, all standardised and cut at four standard deviations; these and their squares
  go into a logistic regression with C = 0.01. The squares find differences of spread, to which a linear model is blind,
  and a model this stiff holds its held-out AUC near 0.5 where there is nothing to find. The components of images above
  64 pixels are of the image halved until 64 are left (leakbench.data.reduced); the other four are of the image itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.data.image_view import ImagesLike
from leakbench.data.reduced import blocks, count_rows, reduced
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, Watch, train
from leakbench.runtime.device import RngStream, in_batches, place, seeded

_COMPONENTS = 48
_ROWS = 256  # images in a batch when the blind reader scores, at the most


class SmallConvNet(nn.Module):
    """A classifier of images (N, channels, H, W) from 8x8 on, whose penultimate layer has `width` features.

    `width` is a multiple of 16.
    """

    def __init__(self, channels: int, classes: int, width: int = 64) -> None:
        super().__init__()
        self.channels, self.classes, self.width = channels, classes, width
        layers: list[nn.Module] = []
        for size, wider, stride in [(channels, width // 2, 1), (width // 2, width, 2), (width, width, 2)]:
            layers += [nn.Conv2d(size, wider, 3, stride, padding=1), nn.GroupNorm(8, wider), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.exit = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer (N, width), zero or more."""
        x = reduced(x)
        if max(x.shape[-2:]) > 32:
            x = F.avg_pool2d(x, 2)
        pixels: Tensor = self.body(x)
        return pixels.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        logits: Tensor = self.exit(self.features(x))
        return logits


def train_classifier(
    images: Any, labels: Tensor, classes: int, stream: RngStream, steps: int = 300, watch: Watch | None = None
) -> SmallConvNet:
    """Train on images (N, C, H, W) in [-1, 1] and labels (N,) below `classes`, on the images' device. The images are
    a tensor, Pictures, or anything else that makes a batch of its own by `images[numbers]`. `watch` looks at the
    network now and then.

    Returns the network in eval mode, without gradients. The same stream gives the same network. Raises ValueError when
    a label is out of range.
    """
    if len(labels) != len(images) or not bool(((labels >= 0) & (labels < classes)).all()):
        raise ValueError(f"a classifier of {classes} classes needs one label in 0 .. {classes - 1} for each image")
    with seeded(stream):
        network = SmallConvNet(images.shape[1], classes)
    place(network, images.device)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(module(images[batch.index]), labels[batch.index])

    train(network, loss, Recipe(steps=steps, batch=64, lr=3e-3), stream=stream, count=len(images), watch=watch)
    return network


@dataclass(frozen=True)
class BlindReader:
    """A fitted membership classifier that never saw a model."""

    decide: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def score(self, images: Tensor | np.ndarray) -> np.ndarray:
        """Log odds of membership (N,), float64, of images (N, C, H, W): higher = more likely a member."""
        pixels = torch.as_tensor(images, dtype=torch.float32).cpu()
        size = min(_ROWS, count_rows(pixels))
        scores = in_batches(lambda batch: torch.from_numpy(self.decide(*_tables(batch))), pixels, size=size)
        return scores.double().numpy()


def blind_reader(images: ImagesLike | np.ndarray, member: Tensor | np.ndarray) -> BlindReader:
    """Fit membership on images (N, C, H, W) in [-1, 1] and `member` (N,) bool. Deterministic. Of large images only a
    few exist at a time.

    Raises ValueError unless there are members and nonmembers.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    target = torch.as_tensor(member).cpu().numpy().astype(bool)
    if target.all() or not target.any():
        raise ValueError("a blind reader learns from members and nonmembers, and one of the two is missing")
    pixels, summaries = _tables(torch.as_tensor(images) if isinstance(images, np.ndarray) else images)
    components = min(_COMPONENTS, len(pixels) - 1, pixels.shape[1])
    colours = make_pipeline(StandardScaler(), PCA(components, svd_solver="randomized", random_state=0))
    model = make_pipeline(
        StandardScaler(),
        FunctionTransformer(_with_squares),
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=1000),
    )
    model.fit(np.hstack([colours.fit_transform(pixels), summaries]), target)
    return BlindReader(
        lambda pixels, summaries: model.decision_function(np.hstack([colours.transform(pixels), summaries]))
    )


def blind_table(images: ImagesLike | np.ndarray) -> np.ndarray:
    """The columns (N, D) float64 that a blind reader of few images (N, C, H, W) in [-1, 1] learns from, as
    `blind_reader`'s, but that of N images there are N / 4 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    pixels, summaries = _tables(torch.as_tensor(images) if isinstance(images, np.ndarray) else images)
    components = max(1, min(_COMPONENTS, len(pixels) // 4, pixels.shape[1]))
    colours = PCA(components, svd_solver="full").fit_transform(StandardScaler().fit_transform(pixels))
    return _with_squares(StandardScaler().fit_transform(np.hstack([colours, summaries])))


def _tables(images: ImagesLike) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of reduced images, (N, D), and the summaries of the images themselves, (N, 5), float64."""
    found = []
    for rows in blocks(images):
        block = images[rows].to("cpu", torch.float32)
        found.append((_flat(reduced(block).double().numpy()), _summaries(block.double().numpy())))
    pixels, summaries = zip(*found, strict=True)
    return np.concatenate(pixels), np.concatenate(summaries)


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1)


def _summaries(pixels: np.ndarray) -> np.ndarray:
    """Mean, contrast, sharpness down and across, and the share of clipped pixels: (N, 5)."""
    down, across = np.abs(np.diff(pixels, axis=2)), np.abs(np.diff(pixels, axis=3))
    columns = [pixels, down, across, np.abs(pixels) > 0.99]
    means = [_flat(column).mean(axis=1) for column in columns]
    return np.stack([*means, _flat(pixels).std(axis=1)], axis=1)


def _with_squares(table: np.ndarray) -> np.ndarray:
    table = table.clip(-4, 4)  # or the square of one odd image outweighs all others
    return np.hstack([table, table**2])
