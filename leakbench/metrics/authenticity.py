"""Authenticity: the share of samples that lie no closer to a training image than training images lie to one another.

AuthPct (Alaa et al. 2102.08921): sample g is authentic where its distance to the nearest training image x is above the
distance of x to *its* nearest neighbour in the training set. 0 where all samples are copies, about one half where they
are drawn from the law of the training images. It depends on how densely these lie, so never compare it across sizes.

Choices of ours. The null is the same share by held-out images in the place of the training images, at the same number:
of a model that remembers nothing both are equal on average, whatever the law of its samples, and the excess says what
training images alone explain. All samples that are judged by one distance between training images (their nearest is
either of two images that are nearest to each other) count as a group, and intervals (Clopper-Pearson, MOVER for the
excess) go by the effective number of samples (leakbench.statistics.groups).

Of excesses whose true value is 0, nominal .05, 400 repetitions at 2 to 32 features, 80 to 300 images a side and 100 to
1,000 samples: the interval lies off 0 in .04 to .08 (`pytest -m slow tests/leakbench/metrics -k authentic`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from leakbench.data.neighbours import nearest
from leakbench.statistics.estimate import Estimate
from leakbench.statistics.proportions import proportion, proportion_difference


@dataclass(frozen=True)
class Authenticity:
    """The share of authentic samples among training images, among held-out images, and the first less the second."""

    value: Estimate
    null: Estimate
    excess: Estimate


def authenticity(samples: Tensor, train: Tensor, heldout: Tensor) -> Authenticity:
    """Authenticity of samples (N, D) to `train` (M, D), beside that to `heldout` (M, D).

    Raises ValueError where the two are not equally many, or fewer than two.
    """
    if len(train) != len(heldout):
        raise ValueError(f"{len(train)} training and {len(heldout)} held-out images: a share depends on their number")
    ours, by_ours = _judge(samples, train)
    theirs, by_theirs = _judge(samples, heldout)
    value, null = proportion(ours, groups=by_ours), proportion(theirs, groups=by_theirs)
    excess = proportion_difference(ours, theirs, groups=(by_ours, by_theirs))
    return Authenticity(*(Estimate(one.value, one.low, one.high, one.n) for one in (value, null, excess)))


def _judge(samples: Tensor, real: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Of each sample (N,): whether it is authentic, and the group of those judged by the same distance."""
    found, among = nearest(samples, real), nearest(real, real, 2)
    closest = found.index[:, 0].cpu().numpy()
    index, own = among.index.cpu().numpy(), among.distance[:, 1].cpu().numpy()
    itself = np.arange(len(real))
    neighbour = np.where(index[:, 0] == itself, index[:, 1], index[:, 0])  # a duplicate of a lower number comes first
    pair = np.where(neighbour[neighbour] == itself, np.minimum(itself, neighbour), itself)
    return found.distance[:, 0].cpu().numpy() > own[closest], pair[closest]
