"""Data sets and splits.

A data set is found by entry point (group `leakbench.datasets`): a function of what follows the colon in its name
(`npz:PATH`; nothing, or `high`, for `digits`) that returns a Dataset, and takes `skip_broken` if it decodes image
files. Large images stay in files of which a run reads what it needs (leakbench.data.image_cache). Near-duplicates are
removed before the split is drawn, so that no image has a twin on the other side. The parts of a split:

    member          trained on, reported          calibration_in    trained on, never reported
    nonmember       not trained on, reported      calibration_out   not trained on, never reported
    reference       features, classifiers, thresholds: neither trained on nor reported
"""

from __future__ import annotations

from leakbench.data.dataset import DUPLICATE_SHARE, PARTS, Dataset
from leakbench.data.npz import integers, read_arrays
from leakbench.data.split import Split, SplitSpec, draw_split

__all__ = ["DUPLICATE_SHARE", "PARTS", "Dataset", "Split", "SplitSpec", "draw_split", "integers", "read_arrays"]
