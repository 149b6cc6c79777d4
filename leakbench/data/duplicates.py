"""Near-duplicates of a data set, as leakbench.data.near_duplicates finds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NearDuplicates:
    """Near-duplicates of a data set of N images.

    radius: root mean square pixel difference within which an image is left out.
    keep: bool (N,). resembles: int64 (N,), the kept image nearest to one that is left out; of a kept one, itself.
    distance: float64 (N,), root mean square pixel difference to that.
    """

    radius: float
    keep: np.ndarray
    resembles: np.ndarray
    distance: np.ndarray

    @classmethod
    def none(cls, count: int) -> NearDuplicates:
        """Of so many images that nobody has compared."""
        return cls(0.0, np.ones(count, dtype=bool), np.arange(count), np.zeros(count))
