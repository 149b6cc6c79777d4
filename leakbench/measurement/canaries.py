"""Canaries made to be remembered: other pixels, other labels or other gradients in the place of some training images.

Ordinary canaries are all images but `reference`, as they are. Made ones are half of those, drawn at random; the other
half is trained on as it is, whatever the coins say. A canary is told by the row that it stands in for:

    outlying:     every channel of every pixel is black or white by a fair coin of its own: unlike any real image
    mislabelled:  the image as it is, with another label, drawn evenly from the others
    gradient:     in place of a gradient, clip times the unit vector of one weight, another one for each canary

Where images come in groups (people, patients), a whole group has one coin, and is one canary: half of the groups are
made, with all of their images, and the gradients of a group's images are all of one weight.

The first is the out-of-distribution canary of Steinke et al. (2305.08846) for images, the second its mislabelled one,
the third its Dirac canary (Nasr et al. 2302.07956), which a training has to know of: `Task.gradient_canaries`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from leakbench.api import AuxiliaryModel, GradientCanaries
from leakbench.data import Split
from leakbench.data.image_view import ImageView
from leakbench.measurement.auxiliary import canary_rows
from leakbench.measurement.group_numbers import number_in_order

_PIXELS, _LABEL = 0xB1AC, 0x1ABE1  # of the generators of a row


@dataclass(frozen=True)
class Canaries:
    """The canaries of a canary model: their rows, ascending, and what is made of these. group: that of each row of the
    data set, where images come in groups."""

    model: AuxiliaryModel
    rows: np.ndarray
    group: np.ndarray | None = None

    @classmethod
    def of(cls, split: Split, model: AuxiliaryModel, seed: int) -> Canaries:
        """Canaries of a canary model at a seed."""
        return cls(model, canary_rows(split, model, seed), split.group)

    @property
    def groups(self) -> np.ndarray | None:
        """The group of each canary row, int64; None where each is its own."""
        return None if self.group is None else self.group[self.rows].astype(np.int64)

    def images(self, pictures: ImageView, rows: np.ndarray) -> ImageView:
        """Images of these rows of a data set, with those of canaries as they are trained on."""
        real = pictures.subset(rows)
        made = np.isin(rows, self.rows)
        if self.model.canaries != "outlying" or not made.any():
            return real
        shape = pictures.shape[1:]
        drawn = np.stack([black_or_white(int(row), shape) for row in rows[made]])
        places = np.where(made, len(rows) + np.cumsum(made) - 1, np.arange(len(rows)))
        return ImageView.concatenate([real, ImageView(drawn)]).subset(places)

    def labels(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Labels of these rows, of the labels (M,) of a data set, with those of canaries as they are trained on."""
        found = values[rows].copy()
        if self.model.canaries == "mislabelled":
            count = int(values.max()) + 1
            for place in np.flatnonzero(np.isin(rows, self.rows)):
                shift = np.random.default_rng([int(rows[place]), _LABEL]).integers(1, count)
                found[place] = (found[place] + shift) % count
        return found

    def gradients(self, rows: np.ndarray) -> GradientCanaries | None:
        """Numbers of the canaries among these rows, where their gradients are made."""
        if self.model.canaries != "gradient":
            return None
        place = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        made, ids = self.rows[place] == rows, torch.from_numpy(self.rows)
        if self.groups is None:
            return GradientCanaries(torch.from_numpy(np.where(made, place, -1)), ids)
        canary = number_in_order(self.groups)
        return GradientCanaries(torch.from_numpy(np.where(made, canary[place], -1)), ids, torch.from_numpy(canary))


def black_or_white(row: int, shape: tuple[int, ...]) -> np.ndarray:
    """The outlying image uint8 (H, W, C) of a row, for images (C, H, W)."""
    channels, height, width = shape
    coins = np.random.default_rng([row, _PIXELS]).integers(0, 2, (height, width, channels))
    return (255 * coins).astype(np.uint8)
