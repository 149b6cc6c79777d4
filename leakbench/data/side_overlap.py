"""Overlap across the sides of a given split: nonmembers that show what a member does, mirrored, moved, cropped, relit.

Near-duplicates are found pixel by pixel (leakbench.data.near_duplicates), and a copy that is shifted by two pixels is
none. Here nonmembers are compared with every member over the alignments of leakbench.data.aligned_search, and over
larger shifts: patches that were cut from one source by a sliding window overlap by a half or more. Such a nonmember was
trained on in all but name, so that leaks look smaller than they are.

Choices of ours:
- Larger shifts go by eighths of a side, up to where 45 % of the area is shared, and are not mirrored.
- Near is relative to the data: within a tenth of the median distance of random pairs of nonmembers in that alignment,
  the null. It is not of nearest pairs, so that it stands where nonmembers overlap one another as well.
- What both show has to hold a quarter of either image's contrast (squares about the mean), since empty margins are
  alike everywhere, and an image a contrast of four grey levels at the least.
- Images above 64 pixels are halved first (leakbench.data.reduced), since what is compared is 16 pixels a side.
- Where there are more than two million pairs, as many nonmembers are looked at as make so many with all members, and
  100 at the least, the first in the data set's order, which in an audit is as good as random.
"""

from __future__ import annotations

import hashlib
import io
from itertools import product

import numpy as np
import torch
from torch import Tensor

from leakbench.data.aligned_search import KINDS, AlignedNeighbours, Alignment, Box, alignments, kinds
from leakbench.data.dataset import Dataset
from leakbench.data.image_view import ImageView
from leakbench.data.overlap import SHARE, Overlap, count_compared
from leakbench.data.reduced import reduce_large
from leakbench.data.split import Split
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.code_digest import code_digest
from leakbench.runtime.files import write_atomically
from leakbench.runtime.progress import progress

_EIGHTH, _AREA = 8, 0.45
_CONTRAST, _FLAT = 0.25, 8 / 255  # four grey levels on [-1, 1]
_NULL = 2048  # random pairs
_HELD = 4096  # images of a side that are held at one time
_PATCH = "patch"


def overlap_of_split(data: Dataset, split: Split) -> Overlap | None:
    """Overlap of the reported nonmembers of a given split with what was trained on; None of a split drawn here.

    Where the data set has a folder of its own, the answer is kept there, keyed by all that it depends on.
    """
    if data.split is None or split.file:
        return None
    sides = split.train, split.parts["nonmember"]
    if data.folder is None:
        return _searched(data, *sides)
    told = {
        name: hashlib.sha256(rows.tobytes()).hexdigest()
        for name, rows in zip(("members", "nonmembers"), sides, strict=True)
    }
    path = data.folder / f"overlap-{compute_key(code=code_digest(find_overlap), **told)}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as held:
            words = tuple(map(str, held["kinds"]))
            return Overlap(held["nonmember"], held["member"], held["distance"], words, int(held["compared"]))
    found, file = _searched(data, *sides), io.BytesIO()
    np.savez(file, **(vars(found) | {"kinds": np.array(found.kinds, dtype=str)}))
    write_atomically(path, file.getvalue())
    return found


def _searched(data: Dataset, members: np.ndarray, nonmembers: np.ndarray) -> Overlap:
    count = count_compared(len(members), len(nonmembers))
    with progress(f"looking for {len(members):,} members in {count:,} nonmembers, mirrored, moved, cropped and relit"):
        return find_overlap(ImageView(data.images), members, nonmembers)


def find_overlap(images: ImageView, members: np.ndarray, nonmembers: np.ndarray) -> Overlap:
    """Overlap of nonmembers with members, rows of `images` (N, C, H, W) in [-1, 1] that are given by their numbers."""
    rows = np.sort(nonmembers)[: count_compared(len(members), len(nonmembers))]
    if len(rows) < 2 or not len(members):
        return Overlap.none()
    queries, base = images.subset(rows), images.subset(members)
    found = _nearest(queries, base)
    near = (found.distance < SHARE).nonzero()[:, 0]
    words = [one for some in near.split(_HELD) for one in _differences(queries, base, found, some)]
    return Overlap(rows[near], members[found.index[near]], found.distance[near].numpy(), tuple(words), len(rows))


def _differences(queries: ImageView, base: ImageView, found: AlignedNeighbours, rows: Tensor) -> list[str]:
    """In what some nonmembers differ from the member nearest to each, in words."""
    if not len(rows):
        return []
    ours, theirs = _reduced(queries.subset(rows)), _reduced(base.subset(found.index[rows]))
    aligned = found.alignment[rows], found.mirrored[rows], found.group
    told = kinds(ours, theirs, AlignedNeighbours(torch.arange(len(rows)), found.distance[rows], *aligned))
    return [_words(bits, found.group[number]) for bits, number in zip(told.tolist(), aligned[0].tolist(), strict=True)]


def _words(bits: int, alignment: Alignment) -> str:
    names = [name for bit, name in enumerate(KINDS) if bits >> bit & 1]
    return ";".join([*names, *([_PATCH] if alignment.kind == _PATCH else [])]) or "same"


def list_alignments(height: int, width: int) -> list[Alignment]:
    """Those of `aligned_search`, and shifts of whole patches."""
    found = alignments(height, width)
    known = {(one.ours, one.theirs) for one in found}
    down, across = max(1, height // _EIGHTH), max(1, width // _EIGHTH)
    for y, x in product(*(sorted((step * n for n in range(-4, 5)), key=abs) for step in (down, across))):
        h, w = height - abs(y), width - abs(x)
        ours, theirs = Box(max(y, 0), max(x, 0), h, w), Box(max(-y, 0), max(-x, 0), h, w)
        if h > 0 and w > 0 and h * w >= _AREA * height * width and (ours, theirs) not in known:
            found.append(Alignment(_PATCH, ours, theirs))
    return found


def _nearest(queries: ImageView, base: ImageView) -> AlignedNeighbours:
    """The member nearest to each nonmember, by distances that are shares of those of random pairs."""
    count = len(queries)
    group = list_alignments(*_reduced(base.subset(slice(1))).shape[-2:])
    nulls = _nulls(group, queries)
    best = torch.full((count,), torch.inf, dtype=torch.float64)
    index, place = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    # The number of pairs is bounded, so that where one side comes in several blocks the other is few images.
    for rows in torch.arange(count).split(_HELD):
        ours = _reduced(queries.subset(rows))
        energy = _energy(ours)
        for columns in torch.arange(len(base)).split(_HELD):
            theirs = _reduced(base.subset(columns))
            their_energy = _energy(theirs)
            for number, (one, null) in enumerate(zip(group, nulls, strict=True)):
                shown, ready = one.base(theirs)[:], _tells(one.theirs, theirs, their_energy)
                for mirrored in (False, True) if one.kind != _PATCH else (False,):
                    seen = ours.flip(-1) if mirrored else ours
                    alike = one.queries(seen)[:] @ shown.T
                    alike[~_tells(one.ours, seen, energy)] = -1
                    alike[:, ~ready] = -1
                    most = alike.max(dim=1)
                    far = (2 - 2 * most.values.double()).clamp(min=0).sqrt() / null
                    closer = far < best[rows]
                    best[rows[closer]], index[rows[closer]] = far[closer], columns[most.indices[closer]]
                    place[rows[closer]] = 2 * number + mirrored
    return AlignedNeighbours(index, best, place // 2, place % 2 == 1, group)


def _nulls(group: list[Alignment], images: ImageView) -> list[float]:
    """The median distance of random pairs of nonmembers in each alignment; infinitely small where most are equal."""
    rng = np.random.default_rng(0xD157)
    first = rng.integers(0, len(images), _NULL)
    second = (first + rng.integers(1, len(images), _NULL)) % len(images)
    drawn, pairs = np.unique([first, second], return_inverse=True)
    pixels, (ours, theirs) = _reduced(images.subset(drawn)), pairs.reshape(2, _NULL)
    found = []
    for one in group:
        alike = (one.queries(pixels)[:][ours] * one.base(pixels)[:][theirs]).sum(dim=1)
        found.append(max(1e-12, float((2 - 2 * alike.double()).clamp(min=0).sqrt().median())))
    return found


def _reduced(images: ImageView) -> Tensor:
    """All of some images (n, C, h, w), smaller ones where they are large."""
    return reduce_large(images)[:]


def _energy(images: Tensor) -> Tensor:
    """Sum of squares about the mean (n,); infinite for what is flat, so that no part of it holds a share."""
    flat = images.flatten(1)
    spread = flat.std(dim=1, correction=0)
    return torch.where(spread >= _FLAT, spread.square() * flat.shape[1], torch.inf)


def _tells(box: Box, images: Tensor, energy: Tensor) -> Tensor:
    """Mask (n,) of images whose part in a box holds enough of their contrast."""
    part = box.of(images).flatten(1)
    return part.var(dim=1, correction=0) * part.shape[1] >= _CONTRAST * energy
