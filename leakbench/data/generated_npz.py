"""Generated images as benchmarks of differentially private image synthesis write them: an .npz with `x` and `y`.

`x` holds floats in [0, 1], (N, C, H, W), and `y` the labels (N,), by which DPImageBench's generators end (`gen.npz`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from leakbench.runtime.errors import UsageError

IMAGES, LABELS = "x", "y"
_BESIDE = 0.05  # how far beyond [0, 1] a generator's values may lie; they are cut to it


def to_pixels(path: Path, x: np.ndarray) -> np.ndarray:
    """The images as uint8 (N, H, W, C). uint8 images, (N, H, W) or (N, H, W, C), stay as they are.

    A shape that could be either is read as (N, C, H, W). Raises UsageError for other shapes and values.
    """
    if x.dtype == np.uint8:
        return x
    channels_first = x.ndim == 4 and x.shape[1] in (1, 3)
    if x.dtype.kind != "f" or not (channels_first or (x.ndim == 4 and x.shape[-1] in (1, 3))) or 0 in x.shape:
        raise UsageError(
            f"{path}: {IMAGES}: {x.dtype} of shape {x.shape}; generated images are floats in [0, 1], (N, 1 or 3, "
            "H, W), or uint8 (N, H, W, 1 or 3)"
        )
    low, high = float(x.min()), float(x.max())
    if not (low >= -_BESIDE and high <= 1 + _BESIDE):  # NaN as well
        raise UsageError(
            f"{path}: {IMAGES}: values from {low:g} to {high:g}; generated images are floats in [0, 1]: save "
            "x / 2 + 0.5 where yours are in [-1, 1]"
        )
    pixels = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1) if channels_first else pixels
