"""The Frechet distance of two Gaussians or of two sets of embeddings, and the influence that each embedding has on it.

    |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a^1/2 S_b S_a^1/2)^1/2        (Heusel et al. 1706.08500)

Choices of ours. The last trace is the sum of the singular values of F_a^T F_b for any factors S_a = F_a F_a^T and
S_b = F_b F_b^T, taken from symmetric problems in float64, never from a root that may turn complex:
- S_a positive definite to working precision: F_a = L by Cholesky, and the trace is that of the root of L^T S_b L, from
  its eigenvalues alone. (Where S_a is not and S_b is, the sides change places.) Rounding leaves such an eigenvalue off
  by some eps times the largest, so a root of 0 by 1e-8 of the largest root: no matter in one direction, but in many.
- n rows a side, no more than D columns: the covariances are singular, and the singular values are those of the n x n
  matrix A B^T / (n - 1) of the centred rows A and B.
- Otherwise, and where roots of rounding errors could add up to 1e-8 of the traces: singular values of F_a^T F_b, with
  factors from eigenvectors, without the directions that hold nothing but rounding errors.

Influence (infinitesimal jackknife; Jaeckel 1972): with a weight w_i on each row of A, d |diag(w)^1/2 M|_* / dw_i =
[(M M^T)^1/2]_ii / 2 for M = A B^T and |.|_*, the sum of singular values; so n times the share of row i is, less its
mean,
    2 (mu_a - mu_b) . A_i + n / (n - 1) (|A_i|^2 - [(M M^T)^1/2]_ii).
That diagonal is |A_i T_a|^2, where with F_a^T F_b = P s Q^T the map is T_a = F_b Q s^-1/2; T_b = F_a P s^-1/2 likewise.
So the decomposition that gives the value gives the influences too, for one product of (n, D) and (D, D) a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

_RANK = 1e-10  # eigenvalues of S_a S_b below this share of the largest are left out of the influences
_ROUNDING = 1e-8  # of the traces, that rounding may move the distance by before singular values are taken
_ROWS = 4096  # mapped at one time
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Moments:
    """`mean` (D,) and `covariance` (D, D, over n - 1) of `n` embeddings, float64: all a Frechet distance needs."""

    mean: np.ndarray
    covariance: np.ndarray
    n: int


class Side:
    """Embeddings (n, D) of one side, centred, float64, and what several distances from them have in common.

    Raises ValueError below two rows or when a value is not finite.
    """

    def __init__(self, features: Tensor) -> None:
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(_wanted(features))
        table = features.detach().to(torch.float64, copy=True)
        mean = table.mean(dim=0)
        if not bool(mean.isfinite().all()):  # as it is where all values are: a pass over the table is saved
            raise ValueError(_wanted(features))
        self.centred, self.mean = table.sub_(mean), mean.cpu().numpy()

    def __len__(self) -> int:
        return len(self.centred)

    @cached_property
    def moments(self) -> Moments:
        """Mean and covariance."""
        covariance = _gram(self.centred)
        covariance /= len(self) - 1
        return Moments(self.mean, covariance, len(self))

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared lengths (n,) of the centred rows."""
        return _squared_lengths(self.centred)

    @cached_property
    def cholesky(self) -> np.ndarray | None:
        """The Cholesky factor of the covariance, None where it has none."""
        return _cholesky(self.moments.covariance)


def check_features(features: Tensor) -> None:
    """Raise ValueError unless these are two or more rows (N, D) of finite values."""
    if features.ndim != 2 or len(features) < 2 or not bool(features.isfinite().all()):
        raise ValueError(_wanted(features))


def moments(features: Tensor) -> Moments:
    """The moments of embeddings (N, D). Raises ValueError below two rows or when a value is not finite."""
    return Side(features).moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """The Frechet distance (squared 2-Wasserstein) of the two Gaussians, 0 or more, in squared feature units."""
    spread = np.trace(a.covariance) + np.trace(b.covariance) - 2 * _root_trace(a.covariance, b.covariance)
    return _distance(a.mean - b.mean, spread)


def frechet_of_sides(a: Side, b: Side) -> tuple[float, np.ndarray, np.ndarray]:
    """The distance of n rows a side, and the share (n,) of each row of `a` and of `b` in its deviation."""
    n, apart = len(a), a.mean - b.mean
    shared, of_a, of_b = _of_few(a, b) if n <= a.centred.shape[1] else _of_many(a, b)
    spread = (a.squares.sum() + b.squares.sum()) / (n - 1) - 2 * shared
    shares = []
    for side, sign, mapped in ((a, 2.0, of_a), (b, -2.0, of_b)):
        along = (side.centred @ torch.from_numpy(sign * apart).to(side.centred.device)).cpu().numpy()
        influence = along + n / (n - 1) * (side.squares - mapped)
        shares.append((influence - influence.mean()) / n)
    return _distance(apart, spread), shares[0], shares[1]


def _distance(apart: np.ndarray, spread: float) -> float:
    return max(0.0, float(apart @ apart + spread))  # of equal moments, rounding may leave -1e-14


def _of_few(a: Side, b: Side) -> tuple[float, np.ndarray, np.ndarray]:
    """The trace, and the diagonals of (M M^T)^1/2 and (M^T M)^1/2, from M = A B^T (n, n)."""
    left, values, right = np.linalg.svd((a.centred @ b.centred.T).cpu().numpy())
    return values.sum() / (len(a) - 1), (left * left) @ values, values @ (right * right)


def _of_many(a: Side, b: Side) -> tuple[float, np.ndarray, np.ndarray]:
    """The same from matrices (D, D)."""
    if a.cholesky is None and b.cholesky is not None:
        shared, of_b, of_a = _of_many(b, a)
        return shared, of_a, of_b
    covariances = a.moments.covariance, b.moments.covariance
    found = None if a.cholesky is None else _maps_by_cholesky(a.cholesky, *covariances)
    shared, map_a, map_b = found or _maps(*covariances)
    return shared, _squares_mapped(a.centred, map_a), _squares_mapped(b.centred, map_b)


def _maps_by_cholesky(lower: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """The trace, T_a and T_b for S_a = L L^T and S_b; None where rounding errors may tell in it."""
    values, vectors = np.linalg.eigh(_congruent(lower, b))
    shared = _sum_of_roots(values, a, b)
    if shared is None:
        return None
    kept = values > _RANK * values[-1]
    roots = np.sqrt(values[kept])
    map_b = lower @ (vectors[:, kept] / np.sqrt(roots))
    return shared, b @ map_b / roots, map_b


def _maps(a: np.ndarray, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The same for any two covariances."""
    of_a, of_b = _factor(a), _factor(b)
    left, values, right = np.linalg.svd(of_a.T @ of_b, full_matrices=False)
    kept = values > np.sqrt(_RANK) * values.max(initial=0)
    roots = np.sqrt(values[kept])
    return float(values.sum()), of_b @ (right[kept].T / roots), of_a @ (left[:, kept] / roots)


def _squares_mapped(rows: Tensor, mapping: np.ndarray) -> np.ndarray:
    """|x T|^2 of each row x, for T (D, r)."""
    there = torch.from_numpy(mapping).to(rows.device)
    return np.concatenate([_squared_lengths(part @ there) for part in rows.split(_ROWS)])


def _squared_lengths(rows: Tensor) -> np.ndarray:
    return torch.linalg.vector_norm(rows, dim=1).square().cpu().numpy()


def _gram(rows: Tensor) -> np.ndarray:
    """X^T X. NumPy sees that both factors are one, and halves the work."""
    return (rows.T @ rows).cpu().numpy() if rows.is_cuda else rows.numpy().T @ rows.numpy()


def _root_trace(a: np.ndarray, b: np.ndarray) -> float:
    """tr (S_a^1/2 S_b S_a^1/2)^1/2."""
    for one, other in ((a, b), (b, a)):
        lower = _cholesky(one)
        if lower is not None:
            found = _sum_of_roots(np.linalg.eigvalsh(_congruent(lower, other)), a, b)
            if found is not None:
                return found
            break
    return float(np.linalg.svd(_factor(a).T @ _factor(b), compute_uv=False).sum())


def _sum_of_roots(values: np.ndarray, a: np.ndarray, b: np.ndarray) -> float | None:
    """The sum of the roots of ascending eigenvalues; None where rounding may move it by more than is allowed."""
    off = 4 * _EPS * values[-1]
    doubt = (off / np.sqrt(values.clip(min=off))).sum() if off > 0 else 0.0
    return None if doubt > _ROUNDING * (np.trace(a) + np.trace(b)) else float(np.sqrt(values.clip(min=0)).sum())


def _cholesky(covariance: np.ndarray) -> np.ndarray | None:
    """L; None unless each column keeps a part of its variance, beyond rounding, that those before it do not explain."""
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return None
    unexplained = np.diagonal(lower) ** 2 / np.diagonal(covariance)
    return lower if unexplained.min() > 10 * len(lower) * _EPS else None


def _congruent(lower: np.ndarray, other: np.ndarray) -> np.ndarray:
    """L^T S L for symmetric S, by products with triangles, at half the work of others."""
    from scipy.linalg.blas import dtrmm

    half = dtrmm(1.0, lower.T, other.T)  # column by column, as BLAS has it, nothing is copied
    return dtrmm(1.0, lower.T, half, side=1, trans_a=1, overwrite_b=1)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F (D, rank) with F F^T the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * _EPS * values[-1]
    return vectors[:, kept] * np.sqrt(values[kept])


def _wanted(features: Tensor) -> str:
    return f"a Frechet distance needs two or more rows of finite features, not {tuple(features.shape)}"
