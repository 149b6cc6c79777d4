"""Set-level inference: is a set of images part of the training set? Dubinski et al., CVPR 2025 (2411.12858, CDI).

Where no single image can be told, many together can. n suspected images are tested against n that are known not to
have been trained on, by Welch's t-test that the suspected score higher on average (one-sided). CDI draws 1,000 such
pairs of sets and reports the mean p value; here that is done for several n, and the smallest n whose mean p is below
0.01 is how many images an owner needs.

The draws come from one finite pool without replacement, so they share images. `low` and `high` are the central 95 % of
their p values: what the luck of drawing n images from this pool does, not how well this pool stands for all images.
The nearer n comes to the pool's size N, the more the draws are one and the same set: a mean of n of them spreads
sqrt(1 - n / N) times as far as that of n fresh images, and at n = N not at all, with nothing certain. The mean p value
is CDI's yardstick; it is not itself a p value.

Choices of ours: Welch's t-test is not defined where neither set varies; there p is that of the permutation test, 1 /
C(2n, n) if the suspected score higher and 1 otherwise. Draws of a size come from a stream of their own, so that a
size's numbers do not depend on which others are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from ._scores import Scores, checked
from .groups import Groups, mean_scores

SIZES = (5, 10, 20, 50, 100)


@dataclass(frozen=True)
class SetSize:
    """Sets of `size` images: the mean p value over the draws, the central 95 % of them, and the share that rejects."""

    size: int
    p_value: float
    low: float
    high: float
    rejected: float


@dataclass(frozen=True)
class SetInference:
    """Each size that there were images for, and the smallest whose mean p value is below the significance, if any."""

    by_size: tuple[SetSize, ...]
    smallest: int | None


def set_inference(
    suspected: ArrayLike,
    nonmember: ArrayLike,
    sizes: Sequence[int] = SIZES,
    draws: int = 1000,
    seed: int = 0,
    significance: float = 0.01,
    groups: Groups | None = None,
) -> SetInference:
    """Tests sets of `suspected` (m,) against sets of `nonmember` (n,) scores; sizes above min(m, n) are left out.

    With `groups`, two arrays of these shapes, sets are of groups, each by the mean score of its images: the test takes
    what it is given for independent.

    Suspected are members, or, for the control that must stay at mean p 1/2, further nonmembers. Raises ValueError where
    scores are not finite, unless every size is at least 2, `draws` at least 1, and `significance` in (0, 1).
    """
    inside, outside = checked(suspected), checked(nonmember)
    if groups is not None:
        inside, outside = mean_scores(inside, groups[0]), mean_scores(outside, groups[1])
    if min(sizes, default=0) < 2 or draws < 1 or not 0 < significance < 1:
        raise ValueError("sizes of at least 2, at least 1 draw and a significance in (0, 1) are needed")
    fitting = [size for size in sorted(set(sizes)) if size <= min(inside.size, outside.size)]
    by_size = tuple(_of_size(inside, outside, size, draws, seed, significance) for size in fitting)
    return SetInference(by_size, next((one.size for one in by_size if one.p_value < significance), None))


def _of_size(inside: Scores, outside: Scores, size: int, draws: int, seed: int, significance: float) -> SetSize:
    rng = np.random.default_rng([seed, size])
    p = welch(_drawn(inside, size, draws, rng), _drawn(outside, size, draws, rng))
    low, high = np.quantile(p, [0.025, 0.975])
    return SetSize(size, float(p.mean()), float(low), float(high), float((p < significance).mean()))


def _drawn(scores: Scores, size: int, draws: int, rng: np.random.Generator) -> Scores:
    rows = [rng.choice(scores.size, size, replace=False, shuffle=False) for _ in range(draws)]
    return scores[np.array(rows)]


def welch(first: Scores, second: Scores) -> Scores:
    """One-sided p values (draws,) of "`first` is not higher on average" from two arrays of sets, (draws, n) both."""
    from scipy.special import stdtr

    n = first.shape[1]
    # The test knows no scale, and scores as large as floats go would overflow: each draw gets its own.
    scale = np.maximum(np.abs(first).max(axis=1), np.abs(second).max(axis=1))[:, None]
    first, second = (sets / np.where(scale == 0, 1.0, scale) for sets in (first, second))
    gap = first.mean(axis=1) - second.mean(axis=1)
    errors = np.stack([_spread(first), _spread(second)]) / n
    total = errors.sum(axis=0)
    flat = total == 0
    total[flat] = errors[:, flat] = 1.0  # any number: these rows are replaced
    freedom = (n - 1) * total**2 / (errors**2).sum(axis=0)
    p = stdtr(freedom, -gap / np.sqrt(total))
    return np.where(flat, np.where(gap > 0, 1 / comb(2 * n, n), 1.0), p)


def _spread(sets: Scores) -> Scores:
    """The variance of each set; rounding errors alone are none."""
    found = sets.var(axis=1, ddof=1)
    return np.where(np.ptp(sets, axis=1) == 0, 0.0, found)
