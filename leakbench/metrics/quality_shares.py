"""Shares of single samples and real images in the deviation of a quality metric, by which two releases are paired.

A Frechet distance, say, deviates from its expectation by a sum of one share for each sample and each real image
(`leakbench.statistics.paired`). Releases draw sample i from the same seed and are measured against the same real
images, so the difference of two distances is tested by the differences of these shares; the features themselves, some
thousand numbers an image, need not be kept.

The Frechet distance of rows A (n, D) and B (n, D), centred, with means a and b:
    |a - b|^2 + tr S_A + tr S_B - 2 |A B^T|_* / (n - 1),
where |.|_* is the sum of singular values. With weights w_i on the rows of A (infinitesimal jackknife; Jaeckel 1972),
d |diag(w)^1/2 M|_* / dw_i = [(M M^T)^1/2]_ii / 2, M = A B^T, so that n times the share of row i is, less its mean,
    2 (a - b) . A_i + n / (n - 1) (|A_i|^2 - [(M M^T)^1/2]_ii).
Where n exceeds D the diagonal is that of A R (R A^T A R)^-1/2 R A^T, R = (B^T B)^1/2, with the pseudo-inverse. Shares
are averaged over the blocks that `frechet` averages.

The shares of the kernel distance are its jackknife's; those of precision and recall are 1[inside] less the mean, the
balls being given.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from torch import Tensor

from .quality import covered_points, frechet_blocks, kid_jackknife

_RANK = 1e-10  # eigenvalues below this share of the largest are rounding errors

Shares = tuple[np.ndarray, np.ndarray]  # of the samples (N,), of the real images (M,)


def frechet_shares(samples: Tensor, real: Tensor, n: int | None = None) -> Shares:
    """Shares of samples (N, D) and real images (M, D) in `frechet(samples, real, n)`; 0 for what no block holds."""
    (fewer, more), swapped = frechet_blocks(samples, real, n), len(samples) > len(real)
    size, (least, most) = len(fewer[0]), sorted((len(samples), len(real)))
    ours, theirs = np.zeros(least), np.zeros(most)
    for place, block in enumerate(more):
        beside = place % len(fewer)
        a, b = _pair_shares(fewer[beside], block)
        ours[beside * size : (beside + 1) * size] += a / len(more)
        theirs[place * size : (place + 1) * size] = b / len(more)
    return (theirs, ours) if swapped else (ours, theirs)


def kid_shares(samples: Tensor, real: Tensor) -> Shares:
    """Shares of samples (N, D) and real images (M, D) in `kid(samples, real)`."""
    _, without = kid_jackknife(samples.double(), real.double())
    found = [rest.cpu().numpy() for rest in without]
    return tuple(sqrt((len(rest) - 1) / len(rest)) * (rest.mean() - rest) for rest in found)  # type: ignore[return-value]


def precision_recall_shares(samples: Tensor, real: Tensor, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The share of each sample in the precision, and of each real image in the recall; 0 beyond min(N, M)."""
    n = min(len(samples), len(real))
    found = []
    for points, centres in ((samples, real), (real, samples)):
        inside = covered_points(points[:n], centres[:n], k).cpu().numpy()
        shares = np.zeros(len(points))
        shares[:n] = (inside - inside.mean()) / n
        found.append(shares)
    return found[0], found[1]


def _pair_shares(a: np.ndarray, b: np.ndarray) -> Shares:
    n, apart = len(a), a.mean(axis=0) - b.mean(axis=0)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    shared_a, shared_b = _diagonals(a, b) if n <= a.shape[1] else (_diagonal(a, b), _diagonal(b, a))
    found = []
    for rows, sign, shared in ((a, 1.0, shared_a), (b, -1.0, shared_b)):
        influence = 2 * sign * rows @ apart + n / (n - 1) * ((rows * rows).sum(axis=1) - shared)
        found.append((influence - influence.mean()) / n)
    return found[0], found[1]


def _diagonals(a: np.ndarray, b: np.ndarray) -> Shares:
    """The diagonals of (M M^T)^1/2 and (M^T M)^1/2, M = a b^T, from one decomposition of M (n, n)."""
    left, values, right = np.linalg.svd(a @ b.T)
    return (left * left) @ values, values @ (right * right)


def _diagonal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The diagonal of (M M^T)^1/2, M = a b^T, from matrices (D, D)."""
    values, vectors = np.linalg.eigh(b.T @ b)
    rooted = a @ (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    values, vectors = np.linalg.eigh(rooted.T @ rooted)
    kept = values > _RANK * max(values.max(), 0)
    turned = rooted @ vectors[:, kept]
    return (turned * turned) @ (1 / np.sqrt(values[kept]))
