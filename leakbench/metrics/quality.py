"""Quality of samples: Frechet distance, kernel distance, precision and recall, all from embeddings (N, D).

- Frechet distance (Heusel et al. 1706.08500): of the Gaussians with the moments of either side (frechet_distance.py).
- KID (Binkowski et al. 1801.01401): unbiased MMD^2 with the kernel (x.y / D + 1)^3.
- Precision and recall (Kynkaanniemi et al. 1904.06991): the share of samples inside the k-nearest-neighbour balls of
  real images, and of real images inside those of samples. k is 5, a choice of ours for hundreds of images (the
  paper has 3, for 50,000): neither number compares with published ones.

Each comes with the share that every single sample and real image has in its deviation: to first order, a metric
deviates from its expectation by the sum of these (`leakbench.statistics.paired`). Releases draw sample i from the same
seed and are measured against the same real images, so the difference of two distances is tested by the differences of
their shares; the features themselves, some thousand numbers an image, need not be kept.

Choices of ours. Frechet distance and precision and recall depend on the number of images, so both sides are cut to
equal numbers, at random (random_order.py); a Frechet distance averages over disjoint blocks of that number, up to four
of a side, so that distances which stand side by side may be had at one number without giving up the images beyond it.
Its interval is value +- 1.96 standard errors, the root of the sum of all squared shares (infinitesimal jackknife). It
speaks of the distance *at this number of images*, bias included. Simulated at 8 to 128 dimensions and 40 to 1000
images, it covers 92 to 99 % where the two sides differ and up to 100 % where they do not: there the first order
vanishes, and the interval is the root of 2 times as wide as it need be. KID uses every pair instead of random subsets,
and the delete-one jackknife of both sides: closed form, deterministic, and on average never too narrow (Efron and Stein
1981); its shares are this jackknife's. The intervals of precision and recall are Clopper-Pearson and take the balls as
given, as their shares do: 1[inside] less the mean, over n.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import torch
from torch import Tensor

from leakbench.data.neighbours import nearest, within
from leakbench.statistics.estimate import Estimate
from leakbench.statistics.proportions import clopper_pearson

from .frechet_distance import Side, check_features, frechet_of_sides
from .random_order import cut_blocks

BLOCKS = 4  # of a side that a distance averages over, at the most
_ROWS = 1024  # of a kernel matrix that are held at one time, and as many columns

Shares = tuple[np.ndarray, np.ndarray]  # of the samples (N,), of the real images (M,)


def frechet(samples: Tensor, real: Tensor, n: int | None = None) -> Estimate:
    """The Frechet distance of samples (N, D) and real images (M, D) at n on both sides, min(N, M) where none is given.

    Raises ValueError below two rows, when a value is not finite, and for an n below 2 or above min(N, M).
    """
    return frechet_with_shares(samples, real, n)[0]


def frechet_with_shares(
    samples: Tensor, real: Tensor, n: int | None = None, blocks: int = BLOCKS
) -> tuple[Estimate, Shares]:
    """`frechet`, and the shares in it: averages over up to `blocks` blocks, 0 for what no block holds."""
    check_features(samples)
    check_features(real)
    swapped = len(samples) > len(real)
    fewer, more = (real, samples) if swapped else (samples, real)
    size = len(fewer) if n is None else n
    if not 2 <= size <= len(fewer):
        raise ValueError(f"a Frechet distance at {size} images a side, of which one has {len(fewer)}")
    beside, against = cut_blocks(len(fewer), size, blocks), cut_blocks(len(more), size, blocks)
    sides = [Side(fewer[block]) for block in beside]
    values, of_fewer, of_more = [], np.zeros(len(fewer)), np.zeros(len(more))
    for place, block in enumerate(against):
        which = place % len(sides)
        value, ours, theirs = frechet_of_sides(sides[which], Side(more[block]))
        values.append(value)
        of_fewer[beside[which].numpy()] += ours / len(against)
        of_more[block.numpy()] = theirs / len(against)
    shares = (of_more, of_fewer) if swapped else (of_fewer, of_more)
    return _estimate(float(np.mean(values)), shares, size, least=0.0), shares


def kid(x: Tensor, y: Tensor) -> Estimate:
    """The kernel distance of embeddings x (N, D) and y (M, D): an unbiased estimate, so at times below zero.

    Raises ValueError below three rows on a side, which the jackknife needs.
    """
    return kid_with_shares(x, y)[0]


def kid_with_shares(x: Tensor, y: Tensor) -> tuple[Estimate, Shares]:
    """`kid`, and the shares of the rows of x and of y in it."""
    x, y, n, m = x.double(), y.double(), len(x), len(y)
    if min(n, m) < 3:
        raise ValueError(f"a kernel distance needs three images on each side, not {n} and {m}")
    xx, yy, (xy, yx) = _kernel_sums_within(x), _kernel_sums_within(y), _kernel_sums(x, y)
    within_x, within_y, across = xx.sum() / (n * (n - 1)), yy.sum() / (m * (m - 1)), xy.sum() / (n * m)
    # Row i left out: its pairs go from both its row and its column of the matrix within, and from one row across.
    without_x = (xx.sum() - 2 * xx) / ((n - 1) * (n - 2)) - 2 * (xy.sum() - xy) / ((n - 1) * m)
    without_y = (yy.sum() - 2 * yy) / ((m - 1) * (m - 2)) - 2 * (yx.sum() - yx) / ((m - 1) * n)
    shares = _jackknife_shares(without_x), _jackknife_shares(without_y)
    return _estimate(float(within_x + within_y - 2 * across), shares, min(n, m)), shares


def precision_recall(samples: Tensor, real: Tensor, k: int = 5) -> tuple[Estimate, Estimate]:
    """Precision and recall of samples (N, D) against real images (M, D), at min(N, M) of each.

    A ball's radius is the distance to its centre's k-th nearest neighbour on the same side, itself not counted. Raises
    ValueError unless k is below min(N, M).
    """
    (precision, _), (recall, _) = precision_recall_with_shares(samples, real, k)
    return precision, recall


def precision_recall_with_shares(
    samples: Tensor, real: Tensor, k: int = 5
) -> tuple[tuple[Estimate, np.ndarray], tuple[Estimate, np.ndarray]]:
    """Precision with the share of each sample (N,), recall with that of each real image (M,); 0 of those left out."""
    if not 1 <= k < min(len(samples), len(real)):
        raise ValueError(f"k = {k} neighbours asked for among {min(len(samples), len(real))} images")
    return _covered(samples, real, k), _covered(real, samples, k)


def _estimate(value: float, shares: Shares, n: int, least: float = -np.inf) -> Estimate:
    error = sqrt(sum(float(side @ side) for side in shares))
    return Estimate(value, max(least, value - 1.96 * error), value + 1.96 * error, n)


def _covered(points: Tensor, centres: Tensor, k: int) -> tuple[Estimate, np.ndarray]:
    """The share of points that lie in the ball of a centre, out to that centre's k-th nearest other."""
    n = min(len(points), len(centres))
    (some,), (among,) = cut_blocks(len(points), n, 1), cut_blocks(len(centres), n, 1)
    centres = centres[among]
    radius = nearest(centres, centres, k + 1).distance[:, k]  # the first of k + 1 is the centre itself, or its copy
    inside = within(points[some], centres, radius).cpu().numpy()
    shares = np.zeros(len(points))
    shares[some.numpy()] = (inside - inside.mean()) / n
    return clopper_pearson(int(inside.sum()), n), shares


def _jackknife_shares(without: Tensor) -> np.ndarray:
    """From what is left without each row, (n,), shares whose squares add up to the jackknife's variance."""
    rest = without.cpu().numpy()
    return sqrt((len(rest) - 1) / len(rest)) * (rest.mean() - rest)


def _kernel_sums_within(x: Tensor) -> Tensor:
    """The sum of k(x_i, x_j) over all j but i, for each i. Pairs of tiles are made once for both."""
    sums, parts = torch.zeros_like(x[:, 0]), torch.arange(len(x), device=x.device).split(_ROWS)
    for place, rows in enumerate(parts):
        own = _kernel(x[rows], x[rows])
        sums[rows] += own.sum(dim=1) - own.diagonal()
        for columns in parts[place + 1 :]:
            tile = _kernel(x[rows], x[columns])
            sums[rows] += tile.sum(dim=1)
            sums[columns] += tile.sum(dim=0)
    return sums


def _kernel_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over y of k(x_i, y) for each row of x, and the sum over x of k(x, y_j) for each row of y."""
    of_x, of_y = [], torch.zeros_like(y[:, 0])
    for rows in x.split(_ROWS):
        tiles = [_kernel(rows, columns) for columns in y.split(_ROWS)]
        of_x.append(torch.stack([tile.sum(dim=1) for tile in tiles]).sum(dim=0))
        of_y += torch.cat([tile.sum(dim=0) for tile in tiles])
    return torch.cat(of_x), of_y


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """k(x_i, y_j), (n, m)."""
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)
