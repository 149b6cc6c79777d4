"""Numbers of groups (people, patients, scenes) that depend on nothing but the order in which these come.

leakbench.statistics numbers its own so: what a model is trained on rests on no statistics, else their every change
would train it anew.
"""

from __future__ import annotations

import numpy as np


def number_in_order(groups: np.ndarray) -> np.ndarray:
    """Groups (N,) numbered from 0 in the order in which they first appear, int64 (N,)."""
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(first.size)
    return np.asarray(rank[which.reshape(-1)], dtype=np.int64)
