"""The parts of a split, and drawing them at random.

Near-duplicates are removed first, so that no image has a twin on the other side.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from leakbench.data.dataset import Dataset
from leakbench.data.duplicates import DUPLICATE_RADIUS
from leakbench.errors import UsageError

PARTS = ("member", "calibration_in", "calibration_out", "nonmember", "reference")
_FEWEST = 20  # images of a part below which no interval means anything


class SplitSpec(BaseModel):
    """How many images go into each drawn part, and the seed of the draw. The rest of the pool is `reference`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(300, ge=1)
    nonmembers: int = Field(300, ge=1)
    calibration_in: int = Field(60, ge=1)
    calibration_out: int = Field(60, ge=1)
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Split:
    """Rows of the data set by part (sorted int64 arrays), the attribute of every row, and what was removed first."""

    parts: dict[str, np.ndarray]
    attribute: np.ndarray | None
    removed: int

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
        return total.hexdigest()


def draw_split(data: Dataset, spec: SplitSpec) -> Split:
    """Remove near-duplicates, then draw the parts from the pool at random. Raises UsageError if images are too few."""
    from leakbench.neighbours import near_duplicates

    rows = np.arange(len(data.images))
    keep = np.asarray(near_duplicates(data.tensors(rows), DUPLICATE_RADIUS * data.images[0].size ** 0.5), dtype=bool)
    words = np.full(len(rows), "pool") if data.split is None else data.split.astype(str)
    pool = np.random.default_rng([spec.seed, 0x5EED]).permutation(rows[keep & (words == "pool")])
    wanted = {
        "member": spec.members,
        "nonmember": spec.nonmembers,
        "calibration_in": spec.calibration_in,
        "calibration_out": spec.calibration_out,
    }
    parts = {part: rows[keep & (words == part)] for part in PARTS}
    for part, count in wanted.items():
        if data.split is None or not len(parts[part]):
            parts[part], pool = pool[:count], pool[count:]
    parts["reference"] = np.concatenate([parts["reference"], pool])
    parts = {part: np.sort(index) for part, index in parts.items()}
    _check_enough(data, parts, wanted, int(keep.sum()))
    attribute = data.attribute
    if attribute is None and data.trait is not None:
        attribute = (data.trait > np.median(data.trait[parts["reference"]])).astype(np.int64)
    return Split(parts, attribute, int((~keep).sum()))


def _check_enough(data: Dataset, parts: dict[str, np.ndarray], wanted: dict[str, int], left: int) -> None:
    for part in PARTS:
        least = min(wanted.get(part, _FEWEST), _FEWEST) if data.split is not None else wanted.get(part, _FEWEST)
        if len(parts[part]) < least:
            raise UsageError(
                f"{data.name}: too few images for the split: {left} are left after near-duplicates are removed, and "
                f"part '{part}' got {len(parts[part])} of at least {least}; "
                "give more images or ask for fewer under [split]"
            )
