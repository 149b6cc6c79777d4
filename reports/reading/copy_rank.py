"""Copies beyond the null as they rank: one-sidedly.

Fewer copies than held-out real images pass for are nothing better than none: below zero counts as zero.
"""

from __future__ import annotations

from leakbench.results.metric_specs import COPY_EXCESS

COPY_EXCESSES = (COPY_EXCESS, "copy_rate_published_excess")


def rank_excess(value: float) -> float:
    """An excess of copies, at least 0; NaN stays NaN."""
    return value if value != value else max(0.0, value)
