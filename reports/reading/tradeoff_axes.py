"""The axes at which every trade-off is read: three distances and copying beyond the null."""

from __future__ import annotations

from leakbench.results.metric_specs import DISTANCE_FLOOR, HELDOUT_DISTANCE, TRAINING_DISTANCE

DISTANCES = (HELDOUT_DISTANCE, DISTANCE_FLOOR, TRAINING_DISTANCE)
