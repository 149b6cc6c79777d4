"""Nearest training image under transforms: a copy may be mirrored, shifted, cropped, shrunk, and lit otherwise.

Two images are compared where they overlap, so that nothing has to be made up at a border: an `Alignment` says which box
of one shows what a box of the other shows. Searched are, each also with the first image mirrored:

- shifts of up to 2 steps down and across; a step is a 32nd of the side, at least 1 pixel;
- crops: the first image is a part of the other, at 7/8 of its sides, from the middle or a corner, enlarged;
- the reverse: the other image, shrunk to 7/8, is the middle or a corner of the first.

Brightness and contrast are fitted in closed form: both boxes are brought to mean 0 and contrast 1, so that the distance
is sqrt(2 - 2 c), c the correlation of their pixels (all channels together). 0: equal but for light; 1.41: unrelated;
2: a negative. The least of many distances is smaller than one: whoever sets a threshold takes its null over the group.

Choices of ours. Boxes above 16 pixels are averaged down to 16 a side, on which the cost depends: noise counts less, and
details below a 16th of the side not at all. Contrast below one grey level counts as that much, by one more column that
makes every row as long: a flat image is like flat images only. Not searched: turning, vertical mirroring, stretching,
larger shifts and crops, colours exchanged.

Cost: 70 searches at 16 x 16. For 5,000 in 5,000 images of 3 x 32 x 32 `nearest_aligned` took 30 s of one core of an
EPYC, 1 GB in all, and `neighbours_as_aligned` 9 s for k = 50, where a plain search takes 0.9 s. Both grow with the
product of the numbers; with the size of the images hardly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from leakbench.data.image_view import FeatureRows, ImagesLike, ImageView
from leakbench.data.neighbours import Neighbours, nearest

KINDS = ("mirror", "shift", "scale", "light")  # bit i of `kinds` stands for the i-th
_SIDE = 16  # pixels at which boxes are compared
_STEPS, _STEP = 2, 32  # shifts: steps each way, and steps in a side
_LOST = 8  # one part in so many of a side is lost by a crop
_LEVEL = 2 / 255  # one grey level, on [-1, 1]
_RELIT = 0.1  # root mean square change by which brightness and contrast count as changed


def _as_it_is(images: Tensor) -> Tensor:
    return images


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(-1)


_TURNS = (_as_it_is, _mirrored)


@dataclass(frozen=True)
class Box:
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, images: Tensor) -> Tensor:
        """That part (n, C, height, width), a view."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def resized(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W) made as large as the box."""
        if images.shape[-2:] == (self.height, self.width):
            return images
        return interpolate(images, (self.height, self.width), mode="bilinear", align_corners=False, antialias=True)


@dataclass(frozen=True)
class Alignment:
    """`ours`, a box of a query, shows what the box `theirs` of a base image shows. `kind`: "", "shift" or "scale"."""

    kind: str
    ours: Box
    theirs: Box

    def queries(self, images: ImagesLike) -> FeatureRows:
        """Rows to compare, of queries."""
        return FeatureRows(images, lambda some: _unit_rows(self.ours.of(some)))

    def base(self, images: ImagesLike) -> FeatureRows:
        """Rows to compare, of base images."""
        return FeatureRows(images, lambda some: _unit_rows(self.ours.resized(self.theirs.of(some))))

    def drawn(self, query: Tensor, base: Tensor) -> Tensor:
        """Queries (n, C, H, W) in which what a base image shows as well is the base image's, in the query's light."""
        shown = query.clone()
        part = self.ours.of(shown)
        part.copy_(_relit(self.ours.resized(self.theirs.of(base)), part).clamp(-1, 1))
        return shown


def alignments(height: int, width: int) -> list[Alignment]:
    """The group for images of this size, the identity first; mirrored ones are not listed."""
    down, across = max(1, height // _STEP), max(1, width // _STEP)
    # A box keeps at least half of a side of a tiny image.
    rows, columns = (
        sorted({step * n for n in range(-_STEPS, _STEPS + 1) if 2 * step * abs(n) <= side}, key=abs)
        for step, side in ((down, height), (across, width))
    )
    found = []
    for y, x in product(rows, columns):
        h, w = height - abs(y), width - abs(x)
        ours, theirs = Box(max(y, 0), max(x, 0), h, w), Box(max(-y, 0), max(-x, 0), h, w)
        found.append(Alignment("shift" if y or x else "", ours, theirs))
    lost = max(1, height // _LOST), max(1, width // _LOST)
    whole = Box(0, 0, height, width)
    for y, x in ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
        part = Box(lost[0] * y // 2, lost[1] * x // 2, height - lost[0], width - lost[1])
        if part.height and part.width:
            found += [Alignment("scale", whole, part), Alignment("scale", part, whole)]
    return found


@dataclass(frozen=True)
class AlignedNeighbours:
    """`index` (N,) int64 into the base, `distance` (N,) float64 in [0, 2], and how they were aligned: `alignment` (N,)
    int64, a number in `group`; `mirrored` (N,) bool, the query was."""

    index: Tensor
    distance: Tensor
    alignment: Tensor
    mirrored: Tensor
    group: list[Alignment]


def compared_numbers(shape: tuple[int, ...]) -> int:
    """Numbers by which a query and an image of the base, both of `shape` (C, H, W), are compared over the group."""
    channels, height, width = shape
    return len(_TURNS) * len(alignments(height, width)) * channels * min(height, _SIDE) * min(width, _SIDE)


def nearest_aligned(queries: ImagesLike, base: ImagesLike) -> AlignedNeighbours:
    """The image of `base` (M, C, H, W) nearest to each of `queries` (N, C, H, W), in [-1, 1], over the group.

    Ties go to the earlier alignment, then to the lower index. Raises ValueError when shapes differ.
    """
    if queries.shape[1:] != base.shape[1:]:
        raise ValueError(f"images of one size expected, not {tuple(queries.shape[1:])} and {tuple(base.shape[1:])}")
    group = alignments(*base.shape[-2:])
    index, transform = (torch.zeros(len(queries), dtype=torch.int64, device=queries.device) for _ in range(2))
    distance = torch.full((len(queries),), torch.inf, dtype=torch.float64, device=queries.device)
    for number, one in enumerate(group):
        found = nearest(one.queries(queries), one.base(base), transforms=_TURNS)
        assert found.transform is not None
        closer = found.distance[:, 0] < distance
        index[closer], distance[closer] = found.index[closer, 0], found.distance[closer, 0]
        transform[closer] = 2 * number + found.transform[closer, 0]
    return AlignedNeighbours(index, distance, transform // 2, transform % 2 == 1, group)


def neighbours_as_aligned(queries: ImagesLike, base: ImagesLike, found: AlignedNeighbours, k: int) -> Neighbours:
    """The k nearest base images of each query, in the alignment in which its nearest was found."""
    images = queries if isinstance(queries, ImageView) else ImageView(queries, device=queries.device)
    index = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    distance = torch.empty(len(queries), k, dtype=torch.float64, device=queries.device)
    images = queries if isinstance(queries, ImageView) else ImageView(queries, device=queries.device)
    for number, one in enumerate(found.group):
        for mirrored, turn in enumerate(_TURNS):
            rows = ((found.alignment == number) & (found.mirrored == bool(mirrored))).nonzero()[:, 0]
            if len(rows):
                near = nearest(one.queries(images.subset(rows)).transformed(turn), one.base(base), k)
                index[rows], distance[rows] = near.index, near.distance
    return Neighbours(index, distance)


def drawn_alike(queries: ImagesLike, base: ImagesLike, found: AlignedNeighbours, rows: Tensor) -> Tensor:
    """Neighbours of some queries, brought into line with these (n, C, H, W): each query with the part that both show
    drawn from its neighbour, mirrored, moved, resized and relit. `rows` (n,) are numbers of queries."""
    ours, theirs, turned = queries[rows], base[found.index[rows]], found.mirrored[rows, None, None, None]
    ours = torch.where(turned, _mirrored(ours), ours)
    made = torch.empty_like(ours)
    for number in found.alignment[rows].unique().tolist():
        some = found.alignment[rows] == number
        made[some] = found.group[number].drawn(ours[some], theirs[some])
    return torch.where(turned, _mirrored(made), made)


def kinds(queries: ImagesLike, base: ImagesLike, found: AlignedNeighbours) -> Tensor:
    """What tells each query from its neighbour, int64 (N,): a sum of 2^i, i a number in KINDS; 0: nothing.

    "light": brightness and contrast of the common part differ by more than 0.1, as a root mean square on [-1, 1].
    """
    kind = torch.tensor([2 * (one.kind == "shift") + 4 * (one.kind == "scale") for one in found.group])
    told = kind.to(found.index.device)[found.alignment] + found.mirrored.long()
    for rows in torch.arange(len(queries), device=told.device).split(1024):
        ours, theirs = queries[rows], base[found.index[rows]]
        for number in found.alignment[rows].unique().tolist():
            some = found.alignment[rows] == number
            one = found.group[number]
            part = one.ours.of(ours[some])
            change = (_relit(part, one.theirs.of(theirs[some])) - part).flatten(1).square().mean(dim=1).sqrt()
            told[rows[some]] += 8 * (change > _RELIT).long()
    return told


def _relit(images: Tensor, like: Tensor) -> Tensor:
    """Images with the mean and the contrast of others, pair by pair."""
    (mean, spread), (aim, wide) = (_light(some) for some in (images, like))
    return (images - mean) * (wide / spread) + aim


def _light(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n, 1, 1, 1), the latter of one grey level at least."""
    flat = images.flatten(1)
    mean, spread = flat.mean(dim=1), flat.std(dim=1, correction=0).clamp(min=_LEVEL)
    return mean[:, None, None, None], spread[:, None, None, None]


def _unit_rows(images: Tensor) -> Tensor:
    """Rows (n, D + 1) of length 1: pixels less their mean, and what is left of the length where they are flat."""
    longest = max(images.shape[-2:])
    if longest > _SIDE:
        images = interpolate(images, [max(1, round(s * _SIDE / longest)) for s in images.shape[-2:]], mode="area")
    flat = images.flatten(1).double()
    flat = flat - flat.mean(dim=1, keepdim=True)
    length = flat.norm(dim=1, keepdim=True)
    share = (length / (_LEVEL * flat.shape[1] ** 0.5)).clamp(max=1)
    rows = flat * (share / length.clamp(min=1e-30))
    return torch.cat([rows, (1 - share.square()).sqrt()], dim=1).float()
