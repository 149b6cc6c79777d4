"""Images that come in groups (people, patients, scenes): what every function with a `groups` argument computes by.

The images of a group resemble one another, so n images of k groups tell less than n independent ones: with groups,
variances are those of sums over groups, and an estimate says how many groups it rests on. Without (`groups=None`),
every image is a group of its own.

A share p of n images in k groups has the variance (ratio estimator; Rao and Scott, Biometrics 48, 1992)
    v = k / ((k - 1) n^2) * sum_i (a_i - p n_i)^2,   a_i of the n_i images of group i accepted,
and its effective number of images is n_e = p (1 - p) / v, here within [n^2 / sum n_i^2, n]: the number that a full
correlation within groups would leave, and n. Choice of ours: where fewer than five groups hold an accepted image, or a
refused one, v says little, and the least is taken. With one image a group n_e is n.

Where every image is a group of its own, groups are numbered as the images stand, and all numbers are those without
groups, to the last digit.

Coverage of a nominal 95 % with normal scores, correlated within groups, members shifted by .8 standard deviations (AUC
.714; its paired difference to a noisier attack), and the share of models without a leak that the AUC's test at 5 %
calls one; 5,000 repetitions (`python tests/leakbench/statistics/test_groups.py`):
    groups a side x images  correlation  AUC    by image  TPR at FPR .1  paired  called a leak
    10 x 10                 0            0.933  0.950     0.984          0.935   0.066
    10 x 10                 0.3          0.943  0.719     0.973          0.939   0.055
    10 x 10                 0.6          0.953  0.580     0.982          0.944   0.045
    20 x 5                  0            0.939  0.947     0.986          0.945   0.055
    20 x 5                  0.3          0.943  0.824     0.975          0.947   0.048
    20 x 5                  0.6          0.951  0.721     0.975          0.946   0.043
    50 x 4                  0            0.951  0.953     0.980          0.947   0.054
    50 x 4                  0.3          0.945  0.854     0.975          0.943   0.049
    50 x 4                  0.6          0.948  0.759     0.971          0.944   0.048
    200 x 2                 0            0.951  0.953     0.969          0.950   0.045
    200 x 2                 0.3          0.951  0.920     0.969          0.952   0.044
    200 x 2                 0.6          0.955  0.888     0.972          0.954   0.046
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._scores import Scores
from .estimate import Estimate

FEW_GROUPS = 10  # below so many on a side, an interval is not worth much
TELLING = 5  # groups that differ, below which a correlation within groups cannot be told

Codes = NDArray[np.int64]
Groups = tuple[ArrayLike, ArrayLike]  # the group of each member, and of each nonmember


@dataclass(frozen=True)
class Sides:
    """The groups of members (m,) and of nonmembers (n,), numbered from 0 to `count` - 1 over both sides."""

    member: Codes
    nonmember: Codes
    count: int

    @property
    def alone(self) -> bool:
        """True if every image is a group of its own."""
        return self.count == self.member.size + self.nonmember.size


def number_groups(groups: ArrayLike, size: int) -> Codes:
    """Number the groups of `size` images from 0. Raises ValueError unless there is one whole number an image."""
    return _numbered(_checked(groups, size))[0]


def number_by_appearance(groups: ArrayLike, size: int) -> Codes:
    """Number the groups of `size` images from 0, in the order in which they appear."""
    _, first, codes = np.unique(_checked(groups, size), return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(first.size)
    return np.asarray(rank[codes.reshape(-1)], dtype=np.int64)


def number_sides(groups: Groups | None, members: int, nonmembers: int) -> Sides | None:
    """Number the groups of two sides together: a group may have images on both. None for None."""
    if groups is None:
        return None
    both = np.concatenate([_checked(groups[0], members), _checked(groups[1], nonmembers)])
    codes, count = _numbered(both)
    return Sides(codes[:members], codes[members:], count)


def count_groups(groups: ArrayLike | None, size: int) -> int | None:
    """The number of groups among `size` images; None for None."""
    return None if groups is None else int(np.unique(_checked(groups, size)).size)


def count_independent(groups: ArrayLike | None, size: int) -> int:
    """The number of groups, or of images where there are none."""
    return size if groups is None else int(np.unique(_checked(groups, size)).size)


def fewer_groups(*estimates: Estimate) -> int | None:
    """The least number of groups that some estimates rest on; None where images have none."""
    counts = [one.groups for one in estimates if one.groups is not None]
    return min(counts) if counts else None


def has_few_groups(groups: Groups | None, members: int, nonmembers: int) -> bool:
    """Tell whether there are fewer than ten groups on a side. Never for None: then there are no groups."""
    if groups is None:
        return False
    return min(count_independent(groups[0], members), count_independent(groups[1], nonmembers)) < FEW_GROUPS


def share_groups(first: ArrayLike, second: ArrayLike) -> bool:
    """Tell whether some group has images on both of two sides, by the groups (m,) and (n,) of their images."""
    return bool(np.isin(np.asarray(first), np.asarray(second)).any())


def mean_scores(scores: Scores, groups: ArrayLike) -> Scores:
    """The mean score of each group, in the order of the groups' numbers."""
    codes = number_groups(groups, scores.size)
    return np.asarray(np.bincount(codes, scores) / np.bincount(codes), dtype=np.float64)


def effective_number(accepted: NDArray[np.bool_], groups: ArrayLike | None) -> float:
    """The number of independent images that tell as much of the accepted share as these images (n,) do."""
    n = accepted.size
    if groups is None:
        return float(n)
    codes = number_groups(groups, n)
    sizes = np.bincount(codes).astype(np.float64)
    if sizes.size == n:
        return float(n)
    hits, least, share = np.bincount(codes, accepted), n**2 / float((sizes**2).sum()), float(accepted.mean())
    if min(np.count_nonzero(hits), np.count_nonzero(sizes - hits)) < TELLING:
        return least
    variance = sizes.size / ((sizes.size - 1) * n**2) * float(((hits - share * sizes) ** 2).sum())
    return float(np.clip(share * (1 - share) / variance, least, n)) if variance > 0 else float(n)


def _numbered(groups: NDArray[np.int64]) -> tuple[Codes, int]:
    """The codes of groups and their number."""
    labels, codes = np.unique(groups, return_inverse=True)
    return (np.arange(groups.size) if labels.size == groups.size else codes.astype(np.int64)), labels.size


def _checked(groups: ArrayLike, size: int) -> NDArray[np.int64]:
    found = np.asarray(groups)
    if found.shape != (size,) or found.dtype.kind not in "biu":
        raise ValueError(f"one whole number a score is needed as its group, {size}, got {found.dtype} {found.shape}")
    return found.astype(np.int64)
