"""Quality of samples: Frechet distance, kernel distance, precision and recall, all from embeddings (N, D).

- Frechet distance (Heusel et al. 1706.08500): |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a^1/2 S_b S_a^1/2)^1/2. The
  last trace is taken from eigenvalues of symmetric matrices in float64, never from a root that may turn complex.
- KID (Binkowski et al. 1801.01401): unbiased MMD^2 with the kernel (x.y / D + 1)^3.
- Precision and recall (Kynkaanniemi et al. 1904.06991): the share of samples inside the k-nearest-neighbour balls of
  real images, and of real images inside those of samples.

Choices of ours. Frechet distance and precision and recall depend on the number of images, so both sides are cut to
equal numbers; a Frechet distance averages over disjoint blocks of that number, up to four of a side, so that distances
which stand side by side may be had at one number without giving up the images beyond it. Its interval is value +- 1.96
bootstrap standard errors: a resample is more spread out against its source than a fresh draw is, so a percentile
interval would sit above the value. It speaks of the distance *at this number of images*, bias included; simulated, it
covers 95 % where the two sides differ and up to 100 % where they do not (it is then twice as wide as it need be). KID
uses every pair instead of random subsets, and the delete-one jackknife of both sides: closed form, deterministic, and
on average never too narrow (Efron and Stein 1981). The intervals of precision and recall are Clopper-Pearson and take
the balls as given.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.data.neighbours import nearest, within
from leakbench.runtime.device import Rng
from leakbench.statistics.estimate import Estimate
from leakbench.statistics.proportions import clopper_pearson

Table = Any  # rows of features in float64: an array, or a tensor on CUDA, where moments are summed; both know the same

_BLOCKS = 4
_RESAMPLES = 100
_RESAMPLES_WIDE = 16  # for features wider than _WIDE, where one resample takes seconds: the error is known to a fifth
_WIDE = 512
_ROWS = 1024  # of a kernel matrix that are held at one time


@dataclass(frozen=True)
class Moments:
    """`mean` (D,) and `covariance` (D, D, over n - 1) of `n` embeddings, float64: all a Frechet distance needs."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int


def moments(features: Tensor) -> Moments:
    """The moments of embeddings (N, D). Raises ValueError below two rows or when a value is not finite."""
    return _moments(_table(features))


def frechet_distance(a: Moments, b: Moments) -> float:
    """The Frechet distance (squared 2-Wasserstein) of the two Gaussians, 0 or more, in squared feature units."""
    return _frechet(a, _root(a.covariance), b)


def frechet(samples: Tensor, real: Tensor, n: int | None = None) -> Estimate:
    """The Frechet distance of samples (N, D) and real images (M, D) at n on both sides, min(N, M) where none is given.

    Raises ValueError below two rows, when a value is not finite, and for an n below 2 or above min(N, M).
    """
    fewer, more = _blocks(samples, real, n)
    first, sides = fewer[0], len(fewer)
    resamples = _RESAMPLES if first.shape[1] <= _WIDE else _RESAMPLES_WIDE
    rows = _resampled(len(first), resamples, sides + len(more))
    places: Table = rows if isinstance(first, np.ndarray) else torch.from_numpy(rows).to(first.device)
    repeats = [_mean_frechet(_rows(fewer, r[:sides]), _rows(more, r[sides:])) for r in places]
    value, error = _mean_frechet(fewer, more), float(np.std(repeats, ddof=1))
    return Estimate(value, max(0.0, value - 1.96 * error), value + 1.96 * error, len(first))


def frechet_blocks(samples: Tensor, real: Tensor, n: int | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The blocks of n rows of the smaller side and of the larger that `frechet` averages over: block i of the larger
    is compared with block i modulo their number of the smaller."""
    fewer, more = _blocks(samples, real, n)
    return [_host(block) for block in fewer], [_host(block) for block in more]


def kid(x: Tensor, y: Tensor) -> Estimate:
    """The kernel distance of embeddings x (N, D) and y (M, D): an unbiased estimate, so at times below zero.

    Raises ValueError below three rows on a side, which the jackknife needs.
    """
    value, without = kid_jackknife(x.double(), y.double())
    error = sqrt(float(sum((len(rest) - 1) * rest.var(correction=0) for rest in without)))
    return Estimate(value, value - 1.96 * error, value + 1.96 * error, min(len(x), len(y)))


def kid_jackknife(x: Tensor, y: Tensor) -> tuple[float, tuple[Tensor, Tensor]]:
    """The kernel distance of float64 embeddings, and what it is without each row of x, (N,), and of y, (M,)."""
    n, m = len(x), len(y)
    if min(n, m) < 3:
        raise ValueError(f"a kernel distance needs three images on each side, not {n} and {m}")
    xx, yy = _kernel_sums(x, x) - _kernel(x, x), _kernel_sums(y, y) - _kernel(y, y)
    xy, yx = _kernel_sums(x, y), _kernel_sums(y, x)
    within_x, within_y, across = xx.sum() / (n * (n - 1)), yy.sum() / (m * (m - 1)), xy.sum() / (n * m)
    # Row i left out: its pairs go from both its row and its column of the matrix within, and from one row across.
    without_x = (xx.sum() - 2 * xx) / ((n - 1) * (n - 2)) - 2 * (xy.sum() - xy) / ((n - 1) * m)
    without_y = (yy.sum() - 2 * yy) / ((m - 1) * (m - 2)) - 2 * (yx.sum() - yx) / ((m - 1) * n)
    return float(within_x + within_y - 2 * across), (without_x, without_y)


def precision_recall(samples: Tensor, real: Tensor, k: int = 5) -> tuple[Estimate, Estimate]:
    """Precision and recall of samples (N, D) against real images (M, D), at the first min(N, M) of each.

    A ball's radius is the distance to its centre's k-th nearest neighbour on the same side, itself not counted. Raises
    ValueError unless k is below min(N, M).
    """
    n = min(len(samples), len(real))
    if not 1 <= k < n:
        raise ValueError(f"k = {k} neighbours asked for among {n} images")
    samples, real = samples[:n], real[:n]
    return _covered(samples, real, k), _covered(real, samples, k)


def _covered(points: Tensor, centres: Tensor, k: int) -> Estimate:
    return clopper_pearson(int(covered_points(points, centres, k).sum()), len(points))


def covered_points(points: Tensor, centres: Tensor, k: int) -> Tensor:
    """Tell of each point (N,) whether it lies in the ball of a centre, out to that centre's k-th nearest other."""
    radius = nearest(centres, centres, k + 1).distance[:, k]  # the first of k + 1 is the centre itself, or its copy
    return within(points, centres, radius)


def _blocks(samples: Tensor, real: Tensor, n: int | None) -> tuple[list[Table], list[Table]]:
    fewer, more = sorted((_table(samples), _table(real)), key=len)
    size = len(fewer) if n is None else n
    if not 2 <= size <= len(fewer):
        raise ValueError(f"a Frechet distance at {size} images a side, of which one has {len(fewer)}")
    first, second = (
        [side[i * size : (i + 1) * size] for i in range(min(len(side) // size, _BLOCKS))] for side in (fewer, more)
    )
    return first, second


def _rows(blocks: list[Table], places: Table) -> list[Table]:
    return [block[rows] for block, rows in zip(blocks, places, strict=True)]


def _table(features: Tensor) -> Table:
    table = features.detach().double()
    if table.ndim != 2 or len(table) < 2 or not bool(table.isfinite().all()):
        raise ValueError(f"a Frechet distance needs two or more rows of finite features, not {tuple(table.shape)}")
    return table if table.is_cuda else table.numpy()


def _moments(table: Table) -> Moments:
    mean = table.mean(axis=0)
    centred = table - mean
    return Moments(_host(mean), _host(centred.T @ centred / (len(table) - 1)), len(table))


def _host(values: Table) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root; eigenvalues that rounding left below zero count as zero."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def _frechet(a: Moments, root_a: np.ndarray, b: Moments) -> float:
    shared = np.linalg.eigvalsh(root_a @ b.covariance @ root_a).clip(min=0)
    spread = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(shared).sum()
    return max(0.0, float(np.square(a.mean - b.mean).sum() + spread))  # of equal moments, rounding may leave -1e-14


def _mean_frechet(fewer: list[Table], more: list[Table]) -> float:
    beside = [i % len(fewer) for i in range(len(more))]
    if len(fewer[0]) < fewer[0].shape[1]:
        return float(np.mean([_frechet_of_few(fewer[i], block) for i, block in zip(beside, more, strict=True)]))
    fixed = [_moments(block) for block in fewer]
    roots = [_root(one.covariance) for one in fixed]
    values = [_frechet(fixed[i], roots[i], _moments(block)) for i, block in zip(beside, more, strict=True)]
    return float(np.mean(values))


def _frechet_of_few(a: Table, b: Table) -> float:
    """The same distance from n rows each, where n is below D: of n x n matrices, so several times faster.

    S_a S_b shares its nonzero eigenvalues with G G^T, G = A B^T / (n - 1), for centred rows A and B.
    """
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    a, b = a - mean_a, b - mean_b
    shared = np.linalg.svd(_host(a @ b.T), compute_uv=False).sum()
    spread = (float((a * a).sum()) + float((b * b).sum()) - 2 * shared) / (len(a) - 1)
    return max(0.0, float(((mean_a - mean_b) ** 2).sum()) + float(spread))


def _resampled(n: int, repeats: int, sides: int) -> np.ndarray:
    """Bootstrap rows, (repeats, sides, n): the same for everything that is compared at one n."""
    stream = Rng("quality", 0).of("bootstrap")
    ids = torch.arange(repeats)
    return np.stack([stream.integers(ids, n, (n,), draw=side).numpy() for side in range(sides)], axis=1)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """k(x_i, y_i), row by row."""
    value = (x * y).sum(dim=1) / x.shape[1] + 1
    return value * value * value


def _kernel_sums(x: Tensor, y: Tensor) -> Tensor:
    """The sum over y of k(x_i, y), for each row of x."""
    values = (rows @ y.T / x.shape[1] + 1 for rows in x.split(_ROWS))
    return torch.cat([(value * value * value).sum(dim=1) for value in values])
