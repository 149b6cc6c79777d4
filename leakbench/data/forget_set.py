"""The forget set: the [forget] table of a suite, and the images that it names.

It belongs to the suite and not to a defense, so that every method, the retrained reference and the attacks speak of the
same images. It names images that the target was never trained on as well: a shadow or canary model that was trained on
them forgets them, as the target would have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    from leakbench.data import Dataset, Split


PARTS = ("member", "calibration_in", "calibration_out", "nonmember")  # in the order in which a share is drawn


class ForgetTable(BaseModel):
    """[forget]: `label` names a class, or `share` a random share of the images of each part but `reference`, drawn by
    `seed`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: int | None = Field(None, ge=0)
    share: float | None = Field(None, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_of_both(self) -> ForgetTable:
        if (self.label is None) == (self.share is None):
            raise ValueError("either label or share, and not both")
        return self

    @property
    def kind(self) -> Literal["label", "subset"]:
        """A class, or a random subset."""
        return "subset" if self.label is None else "label"


def forget_rows(data: Dataset, split: Split, table: ForgetTable, where: str) -> np.ndarray:
    """Rows that are to be forgotten by a model that was trained on them, sorted: of all parts but `reference`.

    Raises UsageError if they are none or all of the training images.
    """
    if table.label is not None:
        if data.labels is None:
            raise UsageError(f"{where}: forget.label = {table.label}: {data.name} has no labels; write share instead")
        pool = np.concatenate([split.parts[part] for part in PARTS])
        rows, said = pool[data.labels[pool] == table.label], f"forget.label = {table.label}"
    else:
        assert table.share is not None
        rng = np.random.default_rng([table.seed, 0xF0263E7])
        chosen = [rng.permutation(split.parts[part])[: round(table.share * len(split.parts[part]))] for part in PARTS]
        rows, said = np.concatenate(chosen), f"forget.share = {table.share}"
    gone = int(np.isin(split.train, rows).sum())
    if not 0 < gone < len(split.train):
        what = "no training image, so there is nothing to forget" if not gone else "every training image"
        raise UsageError(
            f"{where}: {said}: names {what}; there are {len(split.train)} training images{_labels(data, split)}"
        )
    return np.sort(rows)


def _labels(data: Dataset, split: Split) -> str:
    if data.labels is None:
        return ""
    return ", with labels " + ", ".join(map(str, np.unique(data.labels[split.train])))
