"""Copies of training images among samples, at a threshold whose false-copy rate is known.

Published thresholds (Carlini et al. 2301.13188; Somepalli et al. 2212.03860) are constants of one data set and one
embedding. Here the threshold is calibrated: real images that were never trained on, scored against the same training
set, may reach it in a stated share of cases. What a second held-out set reaches is the null, and only the excess of the
samples' rate over the null is a finding. A published threshold stands beside it, with a null of its own. Samples and
held-out images must be searched in the same training set.

Similarity: higher = more alike. Pixels: minus the root mean square difference (the l2 of Carlini et al., on [-1, 1]).
Embeddings: the cosine. Ratio: minus d1 / d2, the l2 distances in pixels to the nearest and to the second nearest
training image (Yoon et al. 2023; Gu et al. 2310.02664, who call a sample memorised below 1/3). Near-duplicates in the
training set make d2 about d1 and so hide the images that are memorised most.

Where images come in groups (people), the null and the excess go by the effective number of held-out images, and beside
the training images copied stand the people copied, with the same estimator.

Choices of ours: d2 passes over training images within a duplicate radius of the nearest one (leakbench.data's radius,
as a root mean square on [-1, 1]; 0 passes over exact copies only), and if no other is left the ratio is 0; the
threshold is strict about ties (below); the interval of the number of distinct images copied, and that of the largest
share that copies one image; and the bands of AMS and UMS (SIDE, Chen et al. 2410.02467, whose own limits belong to its
embeddings): low, mid and high begin where 10 %, 5 % and 1 % of held-out real images lie beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, inf, sqrt

import numpy as np
import torch
from torch import Tensor

from leakbench.data.image_view import FeatureRows, ImagesLike
from leakbench.data.neighbours import Matches, distances_to, nearest, query_blocks
from leakbench.statistics.estimate import Estimate
from leakbench.statistics.proportions import clopper_pearson, proportion, proportion_difference

MEMORISED = 1 / 3  # d1 / d2 below which a sample is memorised
BANDS = {"low": 0.1, "mid": 0.05, "high": 0.01}  # the share of held-out real images beyond the lower limit of each
_FIRST, _MORE = 8, 4  # neighbours looked at, and how many times more wherever all of them are duplicates


@dataclass(frozen=True)
class CopyGroups:
    """Groups (people, patients, scenes). copied (N,): of the training image that each sample is nearest to. heldout
    (M,): of the images of the null. samples (N,): of the samples, where they are given images that were aimed at; None
    of generated ones, which are independent draws."""

    copied: np.ndarray
    heldout: np.ndarray
    samples: np.ndarray | None = None


def pixel_similarity(images: ImagesLike, train_images: ImagesLike) -> Matches:
    """Minus the RMS pixel difference to the closest training image; 0 for an exact copy, -2 at the least.

    `images` (N, C, H, W) and `train_images` (M, C, H, W) in [-1, 1]. Raises ValueError when shapes differ.
    """
    found = nearest(FeatureRows(images), FeatureRows(train_images))
    similarity = -found.distance[:, 0] / sqrt(images[0].numel())
    return Matches(found.index[:, 0].cpu().numpy(), similarity.cpu().numpy())


def feature_similarity(features: Tensor, train_features: Tensor) -> Matches:
    """The cosine to the closest training embedding, in [-1, 1]; 1 for an exact copy.

    `features` (N, D) and `train_features` (M, D). Raises ValueError when widths differ or an embedding is all zero.
    """
    found = nearest(normalised(features), normalised(train_features))
    similarity = 1 - found.distance[:, 0].square() / 2
    return Matches(found.index[:, 0].cpu().numpy(), similarity.cpu().numpy())


def ratio_similarity(images: ImagesLike, train_images: ImagesLike, radius: float) -> Matches:
    """Minus d1 / d2, in pixels: 0 for an exact copy, -1 at the least.

    `images` (N, C, H, W) and `train_images` (M, C, H, W) in [-1, 1], or any other space; `radius` is that of
    near-duplicates among the training images. Raises ValueError when shapes differ.
    """
    queries, train = FeatureRows(images), FeatureRows(train_images)
    found = nearest(queries, train)
    first = found.distance[:, 0]
    second = torch.full_like(first, inf)
    left, seen, k = torch.arange(len(queries), device=queries.device), 1, _FIRST
    while len(left) and seen < len(train):
        seen = min(k, len(train))
        some = query_blocks(len(left), train.shape[1])
        second[left] = torch.cat([_to_a_different_one(queries[left[part]], train, seen, radius) for part in some])
        left, k = left[second[left].isinf()], k * _MORE
    ratio = torch.where(first > 0, first / second, 0.0)
    return Matches(found.index[:, 0].cpu().numpy(), -ratio.cpu().numpy())


def _to_a_different_one(queries: Tensor, train: FeatureRows, k: int, radius: float) -> Tensor:
    """Distance (N,) to the nearest training image that is no duplicate of the nearest; infinite if none of k is."""
    found = nearest(queries, train, k)
    apart = distances_to(train[found.index[:, 0]], train, found.index) > radius * sqrt(train.shape[1])
    return found.distance.masked_fill(~apart, inf).amin(dim=1)


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
    similarity: np.ndarray,
    nearest_index: np.ndarray,
    null_similarity: np.ndarray,
    threshold: float,
    groups: CopyGroups | None = None,
) -> dict[str, Estimate]:
    """The copy rate of samples, its null, the excess, and how many distinct training images (people, too) were copied.

    `similarity` and `nearest_index` (N,) are of the samples; `null_similarity` (M,) is of held-out real images that did
    not set the threshold. Raises ValueError when either is empty.
    """
    copied, null = similarity >= threshold, null_similarity >= threshold
    ours, theirs = (None, None) if groups is None else (groups.samples, groups.heldout)
    whose = np.arange(len(copied)) if ours is None else ours
    report = {
        "copy_rate": proportion(copied, groups=ours),
        "copy_rate_null": proportion(null, groups=theirs),
        "copy_rate_excess": proportion_difference(copied, null, groups=None if theirs is None else (whose, theirs)),
        "unique_copies": rarefied_unique(nearest_index[copied], len(copied), len(copied)),
    }
    if groups is not None:
        report["copied_groups"] = rarefied_unique(groups.copied[copied], len(copied), len(copied))
    return report


def unique_copies_by_n(similarity: np.ndarray, nearest_index: np.ndarray, threshold: float) -> dict[str, Estimate]:
    """Expected number of distinct training images copied at an eighth, a quarter and half of the samples (N,): how it
    grows with their number."""
    hits, samples = nearest_index[similarity >= threshold], len(similarity)
    sizes = sorted({samples >> halvings for halvings in (1, 2, 3)} - {0})
    return {f"unique_copies@samples={n}": rarefied_unique(hits, samples, n) for n in sizes}


def max_copy_share(hits: np.ndarray, samples: int, images: int) -> Estimate:
    """The share of the samples that copy the one training image that is copied most: mode collapse where it is near 1.

    `hits` are the training images that some samples copied, repeated as often; `images` is how many were searched.
    Which image is the most copied one is read off the same samples, so its own Clopper-Pearson interval would lie too
    high. This one is simultaneous: in 95 of 100 runs at least, the shares of all `images` lie in their intervals of
    level 1 - 0.05 / images at once, and with them the largest (Bonferroni's inequality; a choice of ours, and wide).
    """
    most = int(np.unique(hits, return_counts=True)[1].max(initial=0))
    return clopper_pearson(most, samples, 1 - 0.05 / images)


def copy_shares(copied: np.ndarray, transforms: np.ndarray, kinds: Sequence[str]) -> dict[str, Estimate]:
    """Shares of the samples that are copies as they stand, and copies under each kind of transform.

    `copied` bool (N,) and `transforms` int64 (N,), bit i for the i-th of `kinds`. A copy under several kinds counts for
    each, so that the shares add up to the copy rate or more."""
    found = {"none": copied & (transforms == 0)}
    found |= {kind: copied & (transforms >> bit & 1 == 1) for bit, kind in enumerate(kinds)}
    return {
        f"copy_rate@transform={kind}": clopper_pearson(int(those.sum()), len(copied)) for kind, those in found.items()
    }


def similarity_bands(
    similarity: np.ndarray, nearest_index: np.ndarray, limits: list[float], groups: np.ndarray | None = None
) -> dict[str, Estimate]:
    """AMS: the share of samples (N,) whose similarity lies in a band. UMS: distinct training images hit there, a
    sample. Bands as in BANDS; `limits` are their lower ones. Both depend on N: compare at equal N alone. `groups` (N,):
    whose real images are."""
    found, samples = {}, len(similarity)
    for band, (low, high) in zip(BANDS, pairwise([*limits, inf]), strict=True):
        inside = (similarity >= low) & (similarity < high)
        hit = rarefied_unique(nearest_index[inside], samples, samples)
        found[f"ams_{band}"] = proportion(inside, groups=groups)
        found[f"ums_{band}"] = Estimate(hit.value / samples, hit.low / samples, hit.high / samples, samples)
    return found


def rarefied_unique(hits: np.ndarray, samples: int, n: int) -> Estimate:
    """Number of distinct training images that a random n of the samples hit, 1 <= n <= samples, in closed form.

    `hits` are the training images that some samples copied, repeated as often. One that was hit k times is missed by
    all n with probability C(samples - k, n) / C(samples, n). Leaving one sample out changes the count only if its image
    was hit once, so the count varies as the number of such images does (its jackknife variance is theirs as a
    binomial): theirs, among n trials, is the interval, exact also when there is none. Below n = samples it is wider
    than need be, for the estimate rests on more than n samples.
    """
    from scipy.stats import hypergeom

    _, times = np.unique(hits, return_counts=True)
    never, once = (float(np.sum(hypergeom.pmf(k, samples, times, n))) for k in (0, 1))
    value, once = round(len(times) - never, 9), round(once, 9)  # whole numbers where n = samples
    low, high = clopper_pearson(floor(once), n).low, clopper_pearson(min(ceil(once), n), n).high
    return Estimate(value, value - once + n * low, value - once + n * high, n)


def normalised(features: Tensor) -> Tensor:
    wide = features.double()
    length = wide.square().sum(dim=1, keepdim=True).sqrt()
    if not bool((length > 0).all()):
        raise ValueError("the cosine of an embedding that is all zero is undefined")
    return torch.div(wide, length)
