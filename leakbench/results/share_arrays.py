"""Names of the arrays in which a quality record keeps each unit's share in a metric (`leakbench.statistics.paired`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def share_name(metric: str, side: int) -> str:
    """The name of a metric's shares: of side 0, the samples or all that are counted, and of side 1, the real images."""
    return f"share_of_{metric}_{side}"


def find_shares(arrays: dict[str, np.ndarray], metric: str) -> list[np.ndarray]:
    """The shares of a metric, one array a side; empty where the record keeps none."""
    names = (share_name(metric, side) for side in range(2))
    return [arrays[name] for name in names if name in arrays]
