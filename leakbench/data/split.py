"""The parts of a split, and drawing them at random.

Near-duplicates are removed first, so that no image has a twin on the other side. Those of one group on one side stay:
they are drawn together, and statistics count groups. Members and nonmembers come from the
pool, or each from its own list of an index file (leakbench.data.split_file), which then counts for more than the words
of the data set.

Where images come in groups (people, patients, scenes), a draw keeps each group whole: groups are drawn in random order,
and of a group that a part cuts off, the rest is used for nothing (a choice of ours, so that parts have the numbers of
images asked for). Words of the data set and lists of an index file are taken as they are. `other_images` of each group
can be held back before the draw: nothing is trained on them, and attacks are asked if anything of a person was used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from leakbench.data.dataset import DUPLICATE_SHARE, PARTS, Dataset
from leakbench.data.split_file import SplitFile, read_split_file
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path

if TYPE_CHECKING:
    from leakbench.data.duplicates import NearDuplicates

_COUNTS = {  # parts in the order in which they are drawn, and the field of SplitSpec with their number
    "member": "members",
    "nonmember": "nonmembers",
    "calibration_in": "calibration_in",
    "calibration_out": "calibration_out",
}
_FEWEST = 20  # images of a part below which no interval means anything
FEW = {"member": 3, "nonmember": 5, "reference": 2, "calibration_in": 0, "calibration_out": 0}  # that exact tests take


class TooFewImages(UsageError):
    """A part of a split got fewer images than it needs."""

    def __init__(self, message: str, part: str, got: int, least: int) -> None:
        super().__init__(message)
        self.part, self.got, self.least = part, got, least


class SplitSpec(BaseModel):
    """Numbers of images of each drawn part, the seed of the draw, and the index file of a standard split. The rest of
    the pool is `reference`. duplicate_radius: share of the median distance of random pairs within which images are
    near-duplicates; 0 leaves out exact copies only. other_images: images of each group that no part gets, in groups
    that have more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(300, ge=1)
    nonmembers: int = Field(300, ge=1)
    calibration_in: int = Field(60, ge=1)
    calibration_out: int = Field(60, ge=1)
    seed: int = Field(0, ge=0)
    file: str = ""
    duplicate_radius: float = Field(DUPLICATE_SHARE, ge=0, le=1, allow_inf_nan=False)
    other_images: int = Field(0, ge=0)


@dataclass(frozen=True)
class Split:
    """Rows of the data set by part (sorted int64 arrays), the attribute of every row, the near-duplicates that were
    removed first, the index file (its name and sha256) that the parts were drawn by, and the group of every row.
    others: by part, rows on which nothing was trained, of people of the part; empty where there are none."""

    parts: dict[str, np.ndarray]
    attribute: np.ndarray | None
    duplicates: NearDuplicates
    file: str = ""
    group: np.ndarray | None = None
    others: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def held_back(self) -> dict[str, np.ndarray]:
        """`others` where they are in no part; of a given split they are nonmembers, whose scores are known."""
        return {} if any(np.isin(rows, self.parts["nonmember"]).any() for rows in self.others.values()) else self.others

    @property
    def removed(self) -> int:
        """Number of images left out as near-duplicates."""
        return int((~self.duplicates.keep).sum())

    @property
    def train(self) -> np.ndarray:
        """Rows that are trained on: member and calibration_in, in the data set's order."""
        return np.sort(np.concatenate([self.parts["member"], self.parts["calibration_in"]]))

    @property
    def digest(self) -> str:
        """sha256 of the rows of every part."""
        total = hashlib.sha256()
        for part in PARTS:
            total.update(part.encode() + self.parts[part].astype(np.int64).tobytes())
        for part, rows in self.others.items():
            total.update(b"other " + part.encode() + rows.astype(np.int64).tobytes())
        return total.hexdigest()


def draw_split(data: Dataset, spec: SplitSpec, duplicates: NearDuplicates | None = None) -> Split:
    """Remove near-duplicates, then draw the parts from the pool at random. Raises TooFewImages.

    duplicates: those that are known; None to find them.
    """
    rows = np.arange(len(data.images))
    listed = read_split_file(user_path(spec.file), data) if spec.file else None
    said = data.split if listed is None else None
    words = np.full(len(rows), "pool") if said is None else said.astype(str)
    if duplicates is None:
        from leakbench.data.near_duplicates import find_near_duplicates  # here, for it imports torch

        duplicates = find_near_duplicates(data, spec.duplicate_radius, _together(data.group, words, listed))
    keep = duplicates.keep
    pool = _draw_order(rows[keep & (words == "pool")], rows[words != "pool"], data.group, spec.seed)
    pool, held_back = _hold_back(pool, data, spec)
    wanted = {part: getattr(spec, field) for part, field in _COUNTS.items()}
    parts = {part: rows[keep & (words == part)] for part in PARTS}
    for names, side in _sides(pool, listed):
        for part in names:
            if said is None or not len(parts[part]):
                parts[part], side = _take(side, wanted[part], data.group)
        if "nonmember" in names:
            parts["reference"] = np.concatenate([parts["reference"], side])
    if listed is not None:
        parts["reference"] = np.concatenate([parts["reference"], pool[~(listed.members | listed.heldout)[pool]]])
    if data.group is not None and said is None:
        drawn = np.concatenate([parts[part] for part in _COUNTS])
        parts["reference"] = _without_groups(parts["reference"], drawn, data.group)
    parts = {part: np.sort(index) for part, index in parts.items()}
    others = _other_images(held_back, parts, data.group)
    _check_enough(data, parts, _least(data, wanted, said, 0 if listed is None else int((~keep).sum())), int(keep.sum()))
    attribute = data.attribute
    if attribute is None and data.trait is not None:
        attribute = (data.trait > np.median(data.trait[parts["reference"]])).astype(np.int64)
    described = "" if listed is None else listed.description
    return Split(parts, attribute, duplicates, described, data.group, others)


def _hold_back(pool: np.ndarray, data: Dataset, spec: SplitSpec) -> tuple[np.ndarray, np.ndarray]:
    """The pool without `other_images` random rows of each group that has more, in its order; and these rows."""
    if not spec.other_images:
        return pool, pool[:0]
    if data.group is None:
        raise UsageError(
            f"{data.name}: split.other_images = {spec.other_images}: the images do not come in groups, so none are "
            "other images of a person; leave it out, or give a `group`"
        )
    _, which, sizes = np.unique(data.group[pool], return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng([spec.seed, 0x07E8]).random(len(pool)), which))
    if not (sizes > spec.other_images).any():
        raise UsageError(
            f"{data.name}: split.other_images = {spec.other_images}: nobody among those who are drawn has more than "
            f"{spec.other_images} images, so none are held back; ask for fewer (of a given split's people on both "
            "sides, those among the nonmembers serve)"
        )
    place = np.empty(len(pool), dtype=np.int64)  # of each row among those of its group
    place[order] = np.arange(len(pool)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    back = (place < spec.other_images) & (sizes[which] > spec.other_images)
    return pool[~back], pool[back]


def _other_images(
    held_back: np.ndarray, parts: dict[str, np.ndarray], group: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Rows by part, ascending, by which its people are asked about, though nothing was trained on them: those that were
    held back; or, of a given split with people on both sides, the nonmembers that are of people who were trained on,
    and beside them those that are not; none where these are fewer than two people in some part.

    Raises UsageError where fewer than two people of a part have images that were held back."""
    if group is None:
        return {}
    if len(held_back):
        found = {part: np.sort(held_back[np.isin(group[held_back], group[parts[part]])]) for part in _COUNTS}
        for part, rows in found.items():
            if len(people := np.unique(group[rows])) < 2:
                raise UsageError(
                    f"split.other_images: of part '{part}' {len(people)} people have images to hold back, and two are "
                    "needed; ask for fewer other images, or for more images of that part"
                )
        return found
    trained = group[np.concatenate([parts["member"], parts["calibration_in"]])]
    found = {}
    for inside, outside in (("member", "nonmember"), ("calibration_in", "calibration_out")):
        shared = np.isin(group[parts[outside]], trained)
        found |= {inside: parts[outside][shared], outside: parts[outside][~shared]}
    return found if all(len(np.unique(group[rows])) > 1 for rows in found.values()) else {}


def _together(group: np.ndarray | None, words: np.ndarray, listed: SplitFile | None) -> np.ndarray | None:
    """Numbers int64 (N,), the same for images of one group that are on one side whatever is drawn: of one word, and of
    one list of an index file. None without groups."""
    if group is None:
        return None
    _, word = np.unique(words, return_inverse=True)
    sides = [group, word, *([] if listed is None else [listed.members, listed.heldout])]
    _, numbers = np.unique(np.stack(sides).astype(np.int64), axis=1, return_inverse=True)
    return numbers.reshape(-1)


def _draw_order(pool: np.ndarray, placed: np.ndarray, group: np.ndarray | None, seed: int) -> np.ndarray:
    """The pool in random order; with groups, those in random order one after the other, without groups of `placed`
    rows."""
    rng = np.random.default_rng([seed, 0x5EED])
    order = rng.permutation(pool)
    if group is None:
        return order
    return order_by_group(_without_groups(order, placed, group), group, rng)


def order_by_group(rows: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows, which are in random order, with those of a group one after the other, groups in random order. With one
    row a group they stay as they are, so that the draw is that without groups."""
    numbers, which = np.unique(group[rows], return_inverse=True)
    if len(numbers) == len(rows):
        return rows
    return rows[np.argsort(rng.permutation(len(numbers))[which], kind="stable")]


def _take(side: np.ndarray, count: int, group: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of a side, and those that later parts may draw."""
    taken, left = side[:count], side[count:]
    return taken, left if group is None else _without_groups(left, taken, group)


def _without_groups(rows: np.ndarray, placed: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The rows that are of no group of the `placed` ones."""
    return rows[~np.isin(group[rows], group[placed])]


def _sides(pool: np.ndarray, listed: SplitFile | None) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Parts that are drawn one after the other, and the rows of the pool that they are drawn from.

    Standard splits use their lists up, so near-duplicates leave a list short: by images that are reported, then.
    """
    if listed is None:
        return [(tuple(_COUNTS), pool)]
    members, heldout = pool[listed.members[pool]], pool[listed.heldout[pool]]
    return [(("calibration_in", "member"), members), (("calibration_out", "nonmember"), heldout)]


def _least(data: Dataset, wanted: dict[str, int], said: np.ndarray | None, removed: int) -> dict[str, int]:
    """Least number of images of each part: as many as asked for, but for what near-duplicates took from the lists of an
    index file; a few, where the data set's words say which; fewer still, where it says that it is of few."""
    if data.few and said is not None:
        return FEW
    few = {part: min(wanted.get(part, _FEWEST), _FEWEST) for part in PARTS}
    return few if said is not None else {part: max(few[part], wanted.get(part, 0) - removed) for part in PARTS}


def _check_enough(data: Dataset, parts: dict[str, np.ndarray], wanted: dict[str, int], left: int) -> None:
    for part, least in wanted.items():
        if len(parts[part]) < least:
            raise TooFewImages(
                f"{data.name}: too few images for the split: {left} are left after near-duplicates are removed, and "
                f"part '{part}' got {len(parts[part])} of at least {least}; "
                "give more images or ask for fewer under [split]",
                part,
                len(parts[part]),
                least,
            )
