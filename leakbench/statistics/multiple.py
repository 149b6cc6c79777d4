"""Many tests at once: Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

With p_(1) <= ... <= p_(k), the adjusted p value of the i-th is max_{j <= i} min(1, (k - j + 1) p_(j)). Rejecting what
is adjusted to a or less makes an error anywhere with probability at most a, however the tests depend on one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """The adjusted p values, in the order given; none for none. Raises ValueError unless all lie in [0, 1]."""
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1 or not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"p values lie in [0, 1], got {list(p_values)}")
    order = np.argsort(raw, kind="stable")
    steps = np.minimum(1.0, raw[order] * np.arange(raw.size, 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted.tolist()
