"""Exact nearest neighbours by Euclidean distance, in bounded memory.

Every method that looks for the closest training image (Carlini et al. 2301.13188, Somepalli et al. 2212.03860) and
every k-nearest-neighbour metric goes through here. Choices of ours:

- |a|^2 + |b|^2 - 2 a.b is one matrix product but cancels: an exact copy comes out at a distance of about 1e-3, not 0.
  Here it only leaves out what a proven bound puts too far away (leakbench.data.distance_bounds); the distances that are
  returned and compared are sums of squared differences in float64.
- Ties go to the lowest index. So an answer depends on its query and on the base alone, not on batches or chunks.
- A chunk of the base is made once for as many queries as fit into memory. The least bound of every group of columns is
  looked at, and a group only where that may come below the k-th nearest found so far.

`parts` above 1 makes the distance the largest over that many equal runs of columns, each a Euclidean distance of its
own: for images that are compared tile by tile. `transforms` searches over several versions of each query, such as
its mirror image: the distance to a row is the smallest over these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.data.distance_bounds import Frame, Queries, Rows
from leakbench.data.image_view import FeatureRows

_QUERIES, _COLUMNS = 1024, 1024  # rows and columns of the matrix of bounds that are held at one time
_ON_CUDA = 16  # times as many there
_QUERY_ELEMENTS = 2**25  # numbers of the queries that are held at one time
_ELEMENTS = 2**23  # numbers in one chunk of the base
_PIECE = 2**19  # numbers on each side of differences that are squared at one time
_GROUP = 32  # columns whose least bound is looked at first
_SAMPLE = 256  # rows of the base that centre and scale are taken from
_PENDING = 2**17  # candidates that wait to be measured, at the least


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
    _check(queries, base, parts)
    if not 1 <= k <= len(base):
        raise ValueError(f"k = {k} neighbours asked for among {len(base)} rows")
    versions: list[Tensor | FeatureRows] = [queries]
    if transforms:
        if not isinstance(queries, FeatureRows):
            raise ValueError("transforms are applied to images: give the queries as FeatureRows of these")
        versions = [queries.transformed(one) for one in transforms]
    sample = _sample(base)
    found = []
    for part in query_blocks(len(queries), base.shape[1] * len(versions)):
        search = _Search([one[part] for one in versions], base, k, parts, sample)
        for chunk in _chunks(base):
            search.visit(chunk.start, search.frame.rows(base[chunk]))
        found.append(search.finish())
    index, distance, transform = (torch.cat(tables) for tables in zip(*found, strict=True))
    return Neighbours(index, distance, transform if transforms else None)


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
    for block in _slices(len(points), min(_QUERIES, max(1, _QUERY_ELEMENTS // points.shape[1]))):
        some = points[block]
        frame = Frame.of(some[:_SAMPLE], some[:0], parts)
        ours = frame.rows(some).as_queries()
        for chunk in _chunks(points):
            if chunk.stop <= block.start:
                continue
            theirs = points[chunk]
            inside = _inside(ours, frame.rows(theirs), some, theirs, limits[chunk])
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
    frame = Frame.of(_sample(base), queries[:_SAMPLE], 1)
    for part in query_blocks(len(queries), queries.shape[1]):
        blocks = [slice(part.start + s.start, part.start + s.stop) for s in _slices(part.stop - part.start, _QUERIES)]
        ours = [frame.rows(queries[rows]).as_queries() for rows in blocks]
        for chunk in _chunks(base):
            theirs = frame.rows(base[chunk])
            for rows, some in zip(blocks, ours, strict=True):
                inside[rows] |= _inside(some, theirs, queries[rows], base[chunk], radius[chunk]).any(dim=1)
    return inside


def pairs_within(queries: Tensor, base: Tensor, radius: Tensor, parts: int = 1) -> Tensor:
    """Mask bool (n, m) of the pairs within the base row's radius: exact, also where rounding leaves a doubt."""
    frame = Frame.of(_sample(base), queries[:_SAMPLE], parts)
    return _inside(frame.rows(queries).as_queries(), frame.rows(base), queries, base, radius)


def _inside(ours: Queries, theirs: Rows, queries: Tensor, base: Tensor, radius: Tensor) -> Tensor:
    """The same of rows whose bounds are at hand."""
    frame = ours.frame
    limit = (radius.double() * frame.scale).square()
    # Rounding the difference changes it by less than the room that the bound's first term leaves for a few operations.
    low = ours.low(theirs).sub_(limit.float())
    rows, columns = (low <= ours.limit(torch.zeros_like(ours.whole))[:, None]).nonzero(as_tuple=True)
    room = 2.0**-20 * limit[columns]
    doubt = ~(ours.high(low[rows, columns], rows, theirs.whole[columns]) + room <= 0)
    inside = torch.zeros_like(low, dtype=torch.bool)
    inside[rows, columns] = True
    rows, columns = rows[doubt], columns[doubt]
    for part in _slices(len(rows), max(1, _PIECE // base.shape[1])):
        r, c = rows[part], columns[part]
        inside[r, c] = distances(queries[r], base[c], frame.parts) <= radius[c]
    return inside


def distances(a: Tensor, b: Tensor, parts: int = 1) -> Tensor:
    """Euclidean distance over the last axis (the largest of its parts), float64. The one formula behind every distance
    that is returned."""
    squared = (a.double() - b.double()).square_()
    return squared.unflatten(-1, (parts, -1)).sum(dim=-1).amax(dim=-1).sqrt()


def distances_to(queries: Tensor, base: Tensor | FeatureRows, index: Tensor, parts: int = 1) -> Tensor:
    """Distances (n, k) of each of `queries` (n, D) to its own rows of `base` (M, D), whose numbers are `index` (n, k).
    A few of these rows exist at a time."""
    query = torch.arange(len(index), device=index.device).repeat_interleave(index.shape[1])
    return _distances_of_pairs(queries, query, base, index.flatten(), parts).view(index.shape)


def _distances_of_pairs(queries: Tensor, row: Tensor, base: Tensor | FeatureRows, column: Tensor, parts: int) -> Tensor:
    """Distances (p,) of pairs of a query and a row of the base, by their numbers; each row of a piece is made once."""
    found = torch.empty(len(row), dtype=torch.float64, device=row.device)
    order = column.argsort(stable=True)
    for part in order.split(max(1, min(_PIECE, _ELEMENTS) // base.shape[1])):
        if isinstance(base, Tensor):
            theirs = base[column[part]]
        else:
            needed, place = column[part].unique(return_inverse=True)
            theirs = base[needed][place]
        found[part] = distances(queries[row[part]], theirs, parts)
    return found


class _Search:
    """Nearest rows of some queries, `versions` of each (n, D): a base is shown to it chunk by chunk, in order."""

    def __init__(self, versions: list[Tensor], base: Tensor | FeatureRows, k: int, parts: int, sample: Tensor) -> None:
        self._base, self._k, self._parts, self._count = base, k, parts, len(versions[0])
        self._rows = versions[0] if len(versions) == 1 else torch.cat(versions)
        self.frame = Frame.of(sample, self._rows[:_SAMPLE], parts)
        size = min(self._count, _on(_QUERIES, base.device))
        blocks = [
            slice(v * self._count + s.start, v * self._count + s.stop)
            for v in range(len(versions))
            for s in _slices(self._count, size)
        ]
        self._blocks = [(block, self.frame.rows(self._rows[block]).as_queries()) for block in blocks]
        # Upper bounds on k squared distances of each row, and on the k-th nearest of each query by any version; and the
        # distance of that one among those that were measured.
        at = base.device
        self._tops = torch.full((len(self._rows), k), inf, dtype=torch.float64, device=at)
        self._reach = torch.full((self._count,), inf, dtype=torch.float64, device=at)
        self._kth = self._reach.clone()
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []  # candidates: row, column, bound
        self._found = torch.empty(0, 2, dtype=torch.int64, device=at), torch.empty(0, dtype=torch.float64, device=at)
        self._size = 0

    def visit(self, start: int, base: Rows) -> None:
        """See rows `start` and on of the base."""
        done = self._kth == 0
        if bool((done & (self._reach >= 0)).any()):
            self._measure()
            self._reach[self._kth == 0] = -inf  # only an earlier row could still count
        count = len(base.whole)
        group = max(1, min(_GROUP, count // (2 * self._k)))
        spare = -count % group
        longest = F.pad(base.whole.masked_fill(base.wild, inf), (0, spare)).view(group, -1).amax(dim=0)
        for block, queries in self._blocks:
            low = queries.low(base)
            low = (F.pad(low, (0, spare), value=inf) if spare else low).view(len(low), group, -1)
            least = low.amin(dim=1)  # of the columns of each group, which lie that far apart
            owners = self._owner(block)
            rows = (least <= queries.limit(self._reach[owners])[:, None]).any(dim=1).nonzero()[:, 0]
            if not len(rows):
                continue
            best = torch.cat([self._tops[block][rows], queries.high(least[rows], rows, longest)], dim=1)
            best = best.topk(self._k, dim=1, largest=False).values
            self._tops[block][rows] = best
            reach = self._reach[owners]
            reach[rows] = torch.minimum(reach[rows], best.amax(dim=1))
            limit = queries.limit(reach)
            r, g = (least[rows] <= limit[rows, None]).nonzero(as_tuple=True)
            r = rows[r]
            values = low[r, :, g]
            hit, place = (values <= limit[r, None]).nonzero(as_tuple=True)
            row, column = r[hit], place * least.shape[1] + g[hit]
            real = column < count
            self._wait(row[real] + block.start, column[real] + start, values[hit, place][real])

    def finish(self) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers, distances and versions, (n, k) each."""
        self._measure()
        pair, distance = self._found
        row, index = pair.view(self._count, self._k, 2).unbind(dim=2)
        return index.contiguous(), distance.view(self._count, self._k), row // self._count

    def _wait(self, row: Tensor, column: Tensor, low: Tensor) -> None:
        self._waiting.append((row, column, low))
        self._size += len(row)
        most = max(_PENDING, 16 * self._k * len(self._rows))
        if self._size > most:
            self._sift()
            if self._size > most // 2:
                self._measure()

    def _sift(self) -> None:
        """Drop candidates that what was seen since has put out of reach."""
        if not self._waiting:
            return
        row, column, low = (torch.cat(values) for values in zip(*self._waiting, strict=True))
        limit = torch.cat([queries.limit(self._reach[self._owner(block)]) for block, queries in self._blocks])
        near = low <= limit[row]
        self._waiting = [(row[near], column[near], low[near])]
        self._size = len(self._waiting[0][0])

    def _measure(self) -> None:
        """Measure what waits and keep the k nearest distinct rows of each query."""
        self._sift()
        if not self._waiting:
            return
        ((row, column, _),) = self._waiting
        self._waiting, self._size = [], 0
        distance = _distances_of_pairs(self._rows, row, self._base, column, self._parts)
        pair, far = self._found
        pair, far = torch.cat([pair, torch.stack([row, column], dim=1)]), torch.cat([far, distance])
        owner = pair[:, 0] % self._count
        if len(self._rows) > self._count:  # of several versions as near to one row, the first
            order = _ordered(pair[:, 0], far, pair[:, 1], owner)
            pair, far, owner = pair[order], far[order], owner[order]
            first = torch.ones_like(owner, dtype=torch.bool)
            first[1:] = (owner[1:] != owner[:-1]) | (pair[1:, 1] != pair[:-1, 1])
            pair, far, owner = pair[first], far[first], owner[first]
        order = _ordered(pair[:, 1], far, owner)
        pair, far, owner = pair[order], far[order], owner[order]
        place = torch.arange(len(owner), device=owner.device)
        rank = place - torch.searchsorted(owner, owner)
        self._found = pair[rank < self._k], far[rank < self._k]
        last = rank == self._k - 1
        self._kth[owner[last]] = far[last]
        measured = (self._kth * self.frame.scale).square() * (1 + 2.0**-50)
        self._reach = torch.minimum(self._reach, measured)

    def _owner(self, block: slice) -> slice:
        """The queries that some rows are versions of."""
        first = block.start % self._count
        return slice(first, first + block.stop - block.start)


def _ordered(*keys: Tensor) -> Tensor:
    """Places sorted by the last key, ties by the one before it, and so on."""
    place = torch.arange(len(keys[0]), device=keys[0].device)
    for key in keys:
        place = place[key[place].argsort(stable=True)]
    return place


def query_blocks(count: int, width: int) -> list[slice]:
    """Blocks of so many queries of this width, each of which exists at one time."""
    return _slices(count, max(1, _QUERY_ELEMENTS // width))


def _chunks(base: Tensor | FeatureRows) -> list[slice]:
    most = _on(_ELEMENTS, base.device) // base.shape[1]
    return _slices(len(base), max(1, min(_on(_COLUMNS, base.device), most)))


def _on(size: int, device: torch.device) -> int:
    return size * _ON_CUDA if device.type == "cuda" else size


def _sample(base: Tensor | FeatureRows) -> Tensor:
    """Some rows (n, D) from all over the base."""
    count = min(_SAMPLE, len(base), max(1, _ELEMENTS // base.shape[1]))
    return base[torch.arange(count, device=base.device) * len(base) // count]


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _check(queries: Tensor | FeatureRows, base: Tensor | FeatureRows, parts: int = 1) -> None:
    if len(queries.shape) != 2 or len(base.shape) != 2 or queries.shape[1] != base.shape[1] or queries.shape[1] == 0:
        raise ValueError(f"two tables of equal width expected, not {tuple(queries.shape)} and {tuple(base.shape)}")
    if parts < 1 or base.shape[1] % parts:
        raise ValueError(f"rows of {base.shape[1]} columns have no {parts} equal parts")


@dataclass(frozen=True)
class Matches:
    """The closest training image of each of N images: `index` (N,) int64 and `similarity` (N,) float64. `transforms`
    (N,) int64, where transforms were searched over: in what they differ, bit i for the i-th of
    leakbench.data.aligned_search.KINDS."""

    index: np.ndarray
    similarity: np.ndarray
    transforms: np.ndarray | None = None

    def split(self, *counts: int) -> list[Matches]:
        """The first so many, the next so many, and so on."""
        ends = np.cumsum(counts)[:-1]
        parts = list(map(Matches, np.split(self.index, ends), np.split(self.similarity, ends)))
        if self.transforms is None:
            return parts
        return [replace(one, transforms=some) for one, some in zip(parts, np.split(self.transforms, ends), strict=True)]
