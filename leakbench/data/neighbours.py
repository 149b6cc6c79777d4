"""Exact nearest neighbours by Euclidean distance, in bounded memory.

Every method that looks for the closest training image (Carlini et al. 2301.13188, Somepalli et al. 2212.03860) and
every k-nearest-neighbour metric goes through here. Choices of ours:

- |a|^2 + |b|^2 - 2 a.b is one matrix product but cancels: an exact copy comes out at a distance of about 1e-7, not 0.
  Here it only makes a shortlist, in float64 and with a bound on its error; the distances that are returned and compared
  are sums of squared differences. A row whose shortlist the bound cannot vouch for (many ties) is searched one by one.
- Ties go to the lowest index. So an answer depends on its query and on the base alone, not on batches or chunks.

`parts` above 1 makes the distance the largest over that many equal runs of columns, each a Euclidean distance of its
own: for images that are compared tile by tile. `transforms` searches over several versions of each query, such as
its mirror image: the distance to a row is the smallest over these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from leakbench.data.image_view import FeatureRows

_QUERIES = 512  # rows of the distance matrix that are held at one time, at the most
_QUERY_ELEMENTS = 2**25  # float64 numbers of these rows themselves: 256 MiB
_ELEMENTS = 2**23  # float64 numbers in one chunk of the base or of the distance matrix: 64 MiB
_SPARE = 12  # shortlisted beyond k, so that the bound seldom fails


@dataclass(frozen=True)
class Neighbours:
    """`index` (N, k) int64 into the base and `distance` (N, k) float64, nearest first; `transform` (N, k) int64, which
    of the transforms that were searched over was the nearest, or None without any."""

    index: Tensor
    distance: Tensor
    transform: Tensor | None = None


def nearest(
    queries: Tensor | FeatureRows,
    base: Tensor | FeatureRows,
    k: int = 1,
    parts: int = 1,
    transforms: Sequence[Callable[[Tensor], Tensor]] = (),
) -> Neighbours:
    """The k rows of `base` (M, D) nearest to each of `queries` (N, D), on the tensors' device. Either may be a table
    whose rows are made when they are asked for.

    `transforms`: functions of images (n, C, H, W) to images, applied to the images of the queries, which then have to
    be a FeatureRows. Ties between transforms go to the first one.

    An exact copy has distance exactly 0. Raises ValueError when the widths differ or are no multiple of `parts`, when k
    is not in 1 .. M, or when a value is not finite.
    """
    if transforms:
        if not isinstance(queries, FeatureRows):
            raise ValueError("transforms are applied to images: give the queries as FeatureRows of these")
        return _merge([nearest(queries.transformed(one), base, k, parts) for one in transforms], k)
    _check(queries, base, parts)
    if not 1 <= k <= len(base):
        raise ValueError(f"k = {k} neighbours asked for among {len(base)} rows")
    some = query_blocks(len(queries), base.shape[1])
    blocks = [_nearest_block(queries[part], base, k, parts) for part in some]
    return Neighbours(torch.cat([b.index for b in blocks]), torch.cat([b.distance for b in blocks]))


def links(points: Tensor | FeatureRows, radius: float, parts: int = 1) -> Tensor:
    """All pairs i < j of `points` (N, D) within `radius` of each other, the boundary included: (E, 2) int64. They may
    be a table whose rows are made when they are asked for.

    Raises ValueError when the width is no multiple of `parts`, a value is not finite, or the radius is negative.
    """
    _check(points, points, parts)
    if not radius >= 0:
        raise ValueError(f"a radius must be zero or more, not {radius}")
    limits = torch.full((len(points),), radius, dtype=torch.float64, device=points.device)
    found = [torch.empty(0, 2, dtype=torch.int64, device=points.device)]
    for block in query_blocks(len(points), points.shape[1]):
        some = points[block]
        for chunk in _chunks(points):
            if chunk.stop <= block.start:
                continue
            inside = pairs_within(some, points[chunk], limits[chunk], parts)
            pairs = inside.nonzero() + torch.tensor([block.start, chunk.start], device=points.device)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return torch.cat(found)


def within(queries: Tensor, base: Tensor, radius: Tensor) -> Tensor:
    """Mask bool (N,) of the `queries` (N, D) within any row's `radius` (M,) of `base` (M, D), the boundary included.

    A radius that `nearest` returned includes the neighbour it belongs to. Raises ValueError when the widths differ, a
    value is not finite, or a radius is negative.
    """
    _check(queries, base)
    if not bool((radius >= 0).all()):
        raise ValueError("a radius must be zero or more")
    inside = torch.zeros(len(queries), dtype=torch.bool, device=queries.device)
    for start in range(0, len(queries), _QUERIES):
        rows = slice(start, start + _QUERIES)
        for chunk in _chunks(base):
            inside[rows] |= pairs_within(queries[rows], base[chunk], radius[chunk]).any(dim=1)
    return inside


def _nearest_block(queries: Tensor, base: Tensor | FeatureRows, k: int, parts: int) -> Neighbours:
    size = min(k + _SPARE, len(base))
    shortlist, reach = _shortlist(queries, base, size, parts)
    distance = distances_to(queries, base, shortlist, parts)
    best = _rank(shortlist, distance, k)
    if size < len(base):
        for row in (best.distance[:, -1].square() >= reach).nonzero().flatten().tolist():
            best.index[row], best.distance[row] = _search(queries[row], base, k, parts)
    return best


def _shortlist(queries: Tensor, base: Tensor | FeatureRows, size: int, parts: int) -> tuple[Tensor, Tensor]:
    """Probably nearest rows, (n, size), and a squared distance (n,) that no row left out comes below."""
    value = torch.empty(len(queries), 0, dtype=torch.float64, device=queries.device)
    index = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    error = torch.zeros(len(queries), 1, dtype=torch.float64, device=queries.device)
    ours = _Doubled.of(queries, parts)  # once, and not for every chunk
    for chunk in _chunks(base):
        squared, slack = _squared(ours, _Doubled.of(base[chunk], parts))
        near, where = squared.topk(min(size, squared.shape[1]), dim=1, largest=False)
        value, index = torch.cat([value, near], dim=1), torch.cat([index, where + chunk.start], dim=1)
        value, order = value.topk(min(size, value.shape[1]), dim=1, largest=False)
        index, error = index.gather(1, order), torch.maximum(error, slack)
    return index, value[:, -1] - error[:, 0]


def _rank(index: Tensor, distance: Tensor, k: int) -> Neighbours:
    """The k smallest distances of each row; ties by lowest index."""
    index, order = index.sort(dim=1)
    distance, places = distance.gather(1, order).sort(dim=1, stable=True)
    return Neighbours(index.gather(1, places)[:, :k].contiguous(), distance[:, :k].contiguous())


def _merge(found: list[Neighbours], k: int) -> Neighbours:
    """The k nearest distinct rows over several searches for the same queries, and the search that found each."""
    blocks = []
    for part in _slices(len(found[0].index), _QUERIES):
        index = torch.cat([one.index[part] for one in found], dim=1)
        distance = torch.cat([one.distance[part] for one in found], dim=1)
        search = torch.arange(len(found), device=index.device).repeat_interleave(k).expand_as(index)
        order = index.argsort(dim=1, stable=True)
        order = order.gather(1, distance.gather(1, order).argsort(dim=1, stable=True))  # by distance, index, search
        index, distance, search = (values.gather(1, order) for values in (index, distance, search))
        same = (index[:, :, None] == index[:, None, :]).tril(diagonal=-1).any(dim=2)
        first = same.long().argsort(dim=1, stable=True)[:, :k]
        blocks.append([values.gather(1, first) for values in (index, distance, search)])
    return Neighbours(*(torch.cat(values) for values in zip(*blocks, strict=True)))


def _search(query: Tensor, base: Tensor | FeatureRows, k: int, parts: int) -> tuple[Tensor, Tensor]:
    """The k nearest to one query (D,), by brute force."""
    distance, index = torch.cat([distances(query, base[chunk], parts) for chunk in _chunks(base)]).sort(stable=True)
    return index[:k], distance[:k]


def pairs_within(queries: Tensor, base: Tensor, radius: Tensor, parts: int = 1) -> Tensor:
    """Mask bool (n, m) of the pairs within the base row's radius: exact, also where rounding leaves a doubt."""
    squared, slack = _squared(_Doubled.of(queries, parts), _Doubled.of(base, parts))
    limit = radius.double().square()
    inside = squared <= limit
    rows, columns = ((squared - limit).abs() <= slack).nonzero(as_tuple=True)
    for part in _slices(len(rows), _ELEMENTS // base.shape[1] or 1):
        r, c = rows[part], columns[part]
        inside[r, c] = distances(queries[r], base[c], parts) <= radius[c]
    return inside


def distances(a: Tensor, b: Tensor, parts: int = 1) -> Tensor:
    """Euclidean distance over the last axis (the largest of its parts), float64. The one formula behind every distance
    that is returned."""
    squared = (a.double() - b.double()).square()
    return squared.unflatten(-1, (parts, -1)).sum(dim=-1).amax(dim=-1).sqrt()


def distances_to(queries: Tensor, base: Tensor | FeatureRows, index: Tensor, parts: int = 1) -> Tensor:
    """Distances (n, k) of each of `queries` (n, D) to its own rows of `base` (M, D), whose numbers are `index` (n, k).
    A few of these rows exist at a time."""
    query = torch.arange(len(index), device=index.device).repeat_interleave(index.shape[1])
    flat = index.flatten()
    some = _slices(len(flat), max(1, _ELEMENTS // base.shape[1]))
    found = [distances(queries[query[part]], base[flat[part]], parts) for part in some]
    return torch.cat(found).view(index.shape)


@dataclass(frozen=True)
class _Doubled:
    """Rows (n, D) in float64: their equal runs of columns, the squared lengths of each (n,), and of the whole rows."""

    pieces: tuple[Tensor, ...]
    squares: tuple[Tensor, ...]
    whole: Tensor

    @classmethod
    def of(cls, rows: Tensor, parts: int) -> _Doubled:
        wide = rows.double()
        pieces, whole = wide.chunk(parts, dim=1), _squares(wide)
        return cls(pieces, (whole,) if parts == 1 else tuple(map(_squares, pieces)), whole)


def _squares(rows: Tensor) -> Tensor:
    """Squared lengths (n,), of a few rows at a time: the squares of all would take as much memory as the rows."""
    some = max(1, _ELEMENTS // rows.shape[1])
    return torch.cat([part.square().sum(dim=1) for part in rows.split(some)])


def _squared(a: _Doubled, b: _Doubled) -> tuple[Tensor, Tensor]:
    """Squared distances (n, m), one matrix product a part, and a bound (n, 1) on their rounding error.

    A dot product of D terms is off by at most D * eps * |a| |b| <= D * eps * (|a|^2 + |b|^2) / 2; a factor of eight
    covers the norms, the sums, and the rounding of the exact distance it is compared with. No part has a larger norm
    than the whole row.
    """
    each = (
        torch.addmm(aa[:, None] + bb, x, y.T, alpha=-2.0)
        for x, y, aa, bb in zip(a.pieces, b.pieces, a.squares, b.squares, strict=True)
    )
    squared = reduce(torch.maximum, each)
    width = sum(piece.shape[1] for piece in a.pieces)
    return squared, 8 * (width + 1) * torch.finfo(torch.float64).eps * (a.whole[:, None] + b.whole.max())


def query_blocks(count: int, width: int) -> list[slice]:
    """Blocks of so many queries of this width, each of which exists at one time."""
    return _slices(count, min(_QUERIES, max(1, _QUERY_ELEMENTS // width)))


def _chunks(base: Tensor | FeatureRows) -> list[slice]:
    return _slices(len(base), max(1, _ELEMENTS // max(base.shape[1], _QUERIES)))


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _check(queries: Tensor | FeatureRows, base: Tensor | FeatureRows, parts: int = 1) -> None:
    if len(queries.shape) != 2 or len(base.shape) != 2 or queries.shape[1] != base.shape[1] or queries.shape[1] == 0:
        raise ValueError(f"two tables of equal width expected, not {tuple(queries.shape)} and {tuple(base.shape)}")
    if parts < 1 or base.shape[1] % parts:
        raise ValueError(f"rows of {base.shape[1]} columns have no {parts} equal parts")
    if not all(bool(table[chunk].isfinite().all()) for table in (queries, base) for chunk in _chunks(table)):
        raise ValueError("distances need finite values, and some are NaN or infinite")


@dataclass(frozen=True)
class Matches:
    """The closest training image of each of N images: `index` (N,) int64 and `similarity` (N,) float64."""

    index: np.ndarray
    similarity: np.ndarray

    def split(self, *counts: int) -> list[Matches]:
        """The first so many, the next so many, and so on."""
        ends = np.cumsum(counts)[:-1]
        return list(map(Matches, np.split(self.index, ends), np.split(self.similarity, ends)))
