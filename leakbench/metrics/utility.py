"""Utility: how well a classifier that learns from samples alone names real images.

The accuracy on held-out real images of a classifier that is trained on samples and on the labels that they were asked
for, and chosen among its states during training by other samples (DPImageBench's column, 2503.14681, by its "syn"
rule). No real image takes part in training or choosing, so a guarantee of the release covers the number.

Choices of ours. The classifier is the small one of leakbench.models.classifiers (published: networks of 1 to 37 million
weights on 60,000 samples; there the choice is printed by several rules, one of them by noisy real images that no
epsilon counts). One sample in twelve is kept for choosing, and the state after every tenth of the training is looked
at: of equal ones the first. Beside it stands the same with real training images in the place of samples, at most as
many: what these labels and this network allow. Intervals are Clopper-Pearson's and take the classifier as given; over
seeds the report joins them with the spread of trainings.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from leakbench.data.image_view import ImagesLike
from leakbench.models.classifiers import SmallConvNet, train_classifier
from leakbench.models.training.loop import Watch
from leakbench.runtime.device import RngStream, in_batches
from leakbench.statistics.estimate import Estimate
from leakbench.statistics.proportions import proportion

_STEPS, _LOOKS = 1000, 10
_KEPT = 12  # one image in so many is kept for choosing
_ROWS = 256  # images of a compute batch
FEWEST = 2 * _KEPT


def utility(
    images: ImagesLike,
    labels: Tensor,
    heldout: ImagesLike,
    heldout_labels: Tensor,
    classes: int,
    stream: RngStream,
    groups: np.ndarray | None = None,
) -> Estimate:
    """Accuracy, in [0, 1], on `heldout` (M, C, H, W) of a classifier trained on `images` (N, C, H, W), rows in random
    order, and their `labels` (N,), 0 .. classes - 1, all on one device. `groups` (M,): whose images the held-out ones
    are.

    Raises ValueError with fewer than 24 images, and when a label is out of range.
    """
    if len(images) < FEWEST:
        raise ValueError(f"a classifier is trained and chosen on {FEWEST} images at the least, not {len(images)}")
    network = _choose(images, labels, classes, stream)
    return proportion((_name(network, heldout) == heldout_labels).cpu().numpy(), groups=groups)


def _choose(images: ImagesLike, labels: Tensor, classes: int, stream: RngStream) -> SmallConvNet:
    """Train on eleven images of twelve and return the network in the state that names most of the others right."""
    numbers = torch.arange(len(images), device=labels.device)
    kept, used = numbers[numbers % _KEPT == 0], numbers[numbers % _KEPT > 0]
    asked, told = images[kept], labels[kept]
    best, state = -1, dict[str, Tensor]()

    def look(network: nn.Module) -> bool:
        nonlocal best, state
        right = int((_name(network, asked) == told).sum())
        if right > best:
            best, state = right, {key: value.clone() for key, value in network.state_dict().items()}
        return False

    watch = Watch(_STEPS // _LOOKS, look)
    network = train_classifier(images[used], labels[used], classes, stream, _STEPS, watch)
    network.load_state_dict(state)
    return network


def _name(network: nn.Module, images: ImagesLike) -> Tensor:
    with torch.no_grad():
        return in_batches(lambda batch: network(batch).argmax(dim=1), images, size=_ROWS)
