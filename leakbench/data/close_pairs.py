"""Pairs of images within a radius: exact, without comparing all pairs pixel by pixel.

An image is first described by a few weighted sums of its pixels: over each cell of a coarse grid, divided by the root
of the cell's size. These are orthonormal, so two descriptions are never farther apart than the images (a contraction),
and neither are their overall levels (all pixels, by the root of their number). Images are sorted by level; only what
lies within the radius by level is compared by description, and only what is near by description, pixel by pixel, in
float64 as leakbench.data.neighbours measures it. The answers are those of brute force. Descriptions are float32, and
the bound on their rounding error is added to the radius.

Choices of ours: cells of 4 x 4 a channel; where a description says little (noise images are all alike from afar) the
few images that are left are compared by a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from leakbench.data.image_view import FeatureRows, ImagesLike
from leakbench.data.neighbours import distances, pairs_within

_GRID = 4
_ROWS, _COLUMNS = 256, 8192  # of descriptions that are compared at one time
_ELEMENTS = 2**23  # pixels that are held at one time
_DENSE = 0.05  # share of pairs left above which one matrix product is the faster comparison


@dataclass(frozen=True)
class Descriptions:
    """A table of images (N, D), their descriptions (N, K) float32 and levels (N,) float64.

    together: int64 (N,); images of one number belong together, and are no pair, however close. None: none do.
    """

    table: FeatureRows
    cells: Tensor
    level: Tensor
    together: Tensor | None = None

    @classmethod
    def of(cls, images: ImagesLike, mirrored: bool = False, together: Tensor | None = None) -> Descriptions:
        """Of images (N, ...), or of their mirror images. Raises ValueError when a value is not finite."""
        table = FeatureRows(images, _mirrored) if mirrored else FeatureRows(images)
        cells = _Cells.of(tuple(images.shape[1:]), images.device)
        size = max(1, _ELEMENTS // table.shape[1])
        # Both are whole from the start: small tensors kept between large ones keep memory from being freed.
        found = torch.empty(len(table), cells.count, device=images.device)
        levels = torch.empty(len(table), dtype=torch.float64, device=images.device)
        for start in range(0, len(table), size):
            rows = table[start : start + size].double()
            if not bool(rows.isfinite().all()):
                raise ValueError("distances need finite values, and some are NaN or infinite")
            found[start : start + size] = cells.describe(rows)
            levels[start : start + size] = rows.sum(dim=1) / rows.shape[1] ** 0.5
        return cls(table, found, levels, together)


def nearest_earlier(
    queries: Descriptions,
    base: Descriptions,
    radius: float,
    rows: Tensor | None = None,
    others: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """For each image the closest of all earlier ones of the base: number (N,) int64 and distance (N,) float64, infinite
    where none is within the radius. Ties go to the lowest number. Raises ValueError when the radius is negative.

    `rows`: numbers of the images that are asked about, `others`: of those of the base that may be named; by default
    all.
    """
    check_radius(radius)
    everything = torch.arange(len(base.table), device=base.level.device)
    number, distance = everything.clone(), torch.full_like(base.level, torch.inf)
    asked, offered = (everything if some is None else some for some in (rows, others))
    for one, other, far in close_pairs(queries, asked, base, offered, radius):
        earlier = other < one
        one, other, far = one[earlier], other[earlier], far[earlier]
        place = torch.arange(len(one), device=one.device)
        for key in (other, far, one):  # stable sorts, the least important first
            place = place[key[place].argsort(stable=True)]
        one, other, far = one[place], other[place], far[place]
        first = torch.ones_like(one, dtype=torch.bool)
        first[1:] = one[1:] != one[:-1]
        one, other, far = one[first], other[first], far[first]
        better = (far < distance[one]) | ((far == distance[one]) & (other < number[one]))
        number[one[better]], distance[one[better]] = other[better], far[better]
    return number, distance


def close_pairs(
    a: Descriptions, rows: Tensor, b: Descriptions, others: Tensor, radius: float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All pairs of one of `rows` of a and one of `others` of b that lie within the radius, piece by piece: the numbers
    of both and the distance, (e,) each. Images that belong together are no pair, nor are two of one number."""
    rows, others = rows[a.level[rows].argsort()], others[b.level[others].argsort()]
    levels, reach = b.level[others], radius + _slack_of_levels(a, b)
    for part in pieces(rows, _ROWS):
        low = int(torch.searchsorted(levels, a.level[part[0]] - reach))
        high = int(torch.searchsorted(levels, a.level[part[-1]] + reach, right=True))
        for chunk in pieces(others[low:high], _COLUMNS):
            one, other = _near(a.cells[part], b.cells[chunk], radius).nonzero(as_tuple=True)
            one, other = part[one], chunk[other]
            one, other = one[one != other], other[one != other]  # an image is near itself, which says nothing
            for i, j, far in _measured(a.table, one, b.table, other, radius) if len(one) else ():
                apart = _apart(a, i, b, j)
                yield i[apart], j[apart], far[apart]


def _near(a: Tensor, b: Tensor, radius: float) -> Tensor:
    """Mask bool (n, m) of descriptions that may belong to images within the radius: all that do, and some more."""
    aa, bb = a.square().sum(dim=1, keepdim=True), b.square().sum(dim=1)
    slack = 8 * (a.shape[1] + 1) * torch.finfo(a.dtype).eps * float(aa.max() + bb.max())
    return torch.addmm(aa + bb, a, b.T, alpha=-2.0) <= radius**2 + slack


def _apart(a: Descriptions, one: Tensor, b: Descriptions, other: Tensor) -> Tensor:
    """Mask bool (e,) of pairs whose images do not belong together."""
    if a.together is None or b.together is None:
        return torch.ones_like(one, dtype=torch.bool)
    return a.together[one] != b.together[other]


def _measured(
    a: FeatureRows, one: Tensor, b: FeatureRows, other: Tensor, radius: float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Candidate pairs that lie within the radius, measured pixel by pixel."""
    size = max(1, _ELEMENTS // a.shape[1])  # images of each table that are held at one time
    for rows, row, columns, column in _tiles(one, other, size):
        x, y = a[rows], b[columns]
        i, j = row, column
        if len(i) > _DENSE * len(x) * len(y) and len(y) > 1:
            i, j = pairs_within(x, y, torch.full((len(y),), radius, dtype=torch.float64, device=y.device)).nonzero().T
            apart = rows[i] != columns[j]
            i, j = i[apart], j[apart]
        for piece in pieces(torch.arange(len(i), device=i.device), size):
            far = distances(x[i[piece]], y[j[piece]])
            hit = far <= radius
            yield rows[i[piece][hit]], columns[j[piece][hit]], far[hit]


def _tiles(one: Tensor, other: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Pairs by tiles of at most `size` images a side: the images of a side and the place of each pair among them, then
    those of the other side."""
    _, row = one.unique(return_inverse=True)
    _, column = other.unique(return_inverse=True)
    tile = row // size * (int(column.max()) // size + 1) + column // size
    order = tile.argsort(stable=True)
    for inside in order.split(tile.unique(return_counts=True)[1].tolist()):
        yield *one[inside].unique(return_inverse=True), *other[inside].unique(return_inverse=True)


@dataclass(frozen=True)
class _Cells:
    """Cells of images (C, H, W): a grid over each channel, or runs of a row of numbers.

    down (K, H), across (W, L): 1 over the root of a cell's height (width) where a row (column) lies in it.
    """

    shape: tuple[int, int, int]
    down: Tensor
    across: Tensor

    @classmethod
    def of(cls, shape: tuple[int, ...], device: torch.device) -> _Cells:
        """The cells of images of this shape."""
        *channels, height, width = shape if len(shape) > 1 else (1, 1, shape[0])
        grid = (min(_GRID, height), min(_GRID**2 if height == 1 else _GRID, width))
        sides = [
            _orthonormal(torch.arange(side) * cells // side).to(device)
            for side, cells in zip((height, width), grid, strict=True)
        ]
        return cls((prod(channels), height, width), sides[0].T, sides[1])

    @property
    def count(self) -> int:
        """Number of cells, K."""
        return self.shape[0] * self.down.shape[0] * self.across.shape[1]

    def describe(self, rows: Tensor) -> Tensor:
        """Sums of images (n, D) over the cells, divided by the root of their size: (n, K), float64."""
        return (self.down @ (rows.reshape(len(rows), *self.shape) @ self.across)).flatten(1)


def _orthonormal(cell: Tensor) -> Tensor:
    """Columns, float64, of the cell that each place along a side lies in."""
    one_hot = torch.nn.functional.one_hot(cell, int(cell.max()) + 1).double()
    return one_hot / one_hot.sum(dim=0).sqrt()


def _slack_of_levels(a: Descriptions, b: Descriptions) -> float:
    largest = max((float(one.level.abs().max()) for one in (a, b) if len(one.level)), default=0.0)
    return 1e-9 * (1.0 + largest)


def pieces(numbers: Tensor, size: int) -> Iterator[Tensor]:
    """Runs of at most `size` numbers, in order."""
    return (numbers[start : start + size] for start in range(0, len(numbers), size))


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(-1).flatten(1)


def check_radius(radius: float) -> None:
    """Raise ValueError for a negative radius, or for one that is no number."""
    if not radius >= 0:
        raise ValueError(f"a radius must be zero or more, not {radius}")
