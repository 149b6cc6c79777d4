"""Copies of training images among samples, at a threshold whose false-copy rate is known.

Published thresholds (Carlini et al. 2301.13188; Somepalli et al. 2212.03860) are constants of one data set and one
embedding. Here the threshold is calibrated: real images that were never trained on, scored against the same training
set, may reach it in a stated share of cases. What a second held-out set reaches is the null, and only the excess of the
samples' rate over the null is a finding. Samples and held-out images must be searched in the same training set.

Similarity: higher = more alike. Pixels: minus the root mean square difference (the l2 of Carlini et al., on [-1, 1]).
Embeddings: the cosine. Choices of ours: the threshold is strict about ties (below), and the interval of the number of
distinct images copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, sqrt

import numpy as np
import torch
from torch import Tensor

from leakbench.neighbours import nearest
from leakbench.statistics.estimate import Estimate
from leakbench.statistics.proportions import clopper_pearson, difference


@dataclass(frozen=True)
class Matches:
    """The closest training image of each of N images: `index` (N,) int64 and `similarity` (N,) float64."""

    index: np.ndarray
    similarity: np.ndarray


def pixel_similarity(images: Tensor, train_images: Tensor) -> Matches:
    """Minus the RMS pixel difference to the closest training image; 0 for an exact copy, -2 at the least.

    `images` (N, C, H, W) and `train_images` (M, C, H, W) in [-1, 1]. Raises ValueError when shapes differ.
    """
    found = nearest(images.flatten(1), train_images.flatten(1))
    similarity = -found.distance[:, 0] / sqrt(images[0].numel())
    return Matches(found.index[:, 0].cpu().numpy(), similarity.cpu().numpy())


def feature_similarity(features: Tensor, train_features: Tensor) -> Matches:
    """The cosine to the closest training embedding, in [-1, 1]; 1 for an exact copy.

    `features` (N, D) and `train_features` (M, D). Raises ValueError when widths differ or an embedding is all zero.
    """
    found = nearest(_normalised(features), _normalised(train_features))
    similarity = 1 - found.distance[:, 0].square() / 2
    return Matches(found.index[:, 0].cpu().numpy(), similarity.cpu().numpy())


def threshold_at(heldout_similarity: np.ndarray, null_rate: float = 0.01) -> float:
    """The smallest threshold that at most a share `null_rate` of held-out real images (N,) reach (similarity >= it).

    Images that tie are all above or all below, so it is the next float64 above the first similarity that would be one
    too many; with fewer than 1 / null_rate images that is just above the highest. Raises ValueError when there is no
    image, a value is not finite, or the rate is not in [0, 1).
    """
    if len(heldout_similarity) == 0 or not np.isfinite(heldout_similarity).all():
        raise ValueError("a copy threshold needs held-out images, all with finite similarities")
    if not 0 <= null_rate < 1:
        raise ValueError(f"null_rate = {null_rate} is not in [0, 1)")
    descending = np.sort(np.asarray(heldout_similarity, dtype=np.float64))[::-1]
    allowed = floor(null_rate * len(descending) + 1e-9)  # 0.29 * 100 is 28.999999999999996
    return float(np.nextafter(descending[allowed], np.inf))


def copy_report(
    similarity: np.ndarray, nearest_index: np.ndarray, null_similarity: np.ndarray, threshold: float
) -> dict[str, Estimate]:
    """The copy rate of samples, its null, the excess, and how many distinct training images were copied.

    `similarity` and `nearest_index` (N,) are of the samples; `null_similarity` (M,) is of held-out real images that did
    not set the threshold. Raises ValueError when either is empty.
    """
    copied, null = similarity >= threshold, null_similarity >= threshold
    copies, null_copies = int(copied.sum()), int(null.sum())
    return {
        "copy_rate": clopper_pearson(copies, len(copied)),
        "copy_rate_null": clopper_pearson(null_copies, len(null)),
        "copy_rate_excess": difference(copies, len(copied), null_copies, len(null)),
        "unique_copies": _distinct(nearest_index[copied], len(copied)),
    }


def _distinct(hits: np.ndarray, samples: int) -> Estimate:
    """How many distinct training images `samples` samples hit, an expectation at that number of samples.

    Leaving one sample out changes the count only if its image was hit once, so the count varies as the number of such
    images does (its jackknife variance is theirs as a binomial): theirs is the interval, exact also when there is none.
    """
    _, times = np.unique(hits, return_counts=True)
    once = int((times == 1).sum())
    share = clopper_pearson(once, samples)
    repeated = len(times) - once
    return Estimate(float(len(times)), repeated + samples * share.low, repeated + samples * share.high, samples)


def _normalised(features: Tensor) -> Tensor:
    wide = features.double()
    length = wide.square().sum(dim=1, keepdim=True).sqrt()
    if not bool((length > 0).all()):
        raise ValueError("the cosine of an embedding that is all zero is undefined")
    return torch.div(wide, length)
