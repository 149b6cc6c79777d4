"""scikit-learn's handwritten digits: real images that need no download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.runtime.errors import UsageError


def digits(argument: str) -> Dataset:
    """scikit-learn's 1,797 real handwritten digits, 8x8 grey; sensitive attribute: stroke weight.

    `digits:high`: the same images, and the attribute is whether the digit is 5 or more.
    From UCI's "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998), 17 grey levels.
    """
    if argument not in ("", "high"):
        raise UsageError(f'dataset \'digits:{argument}\': write dataset = "digits" or "digits:high"')
    table = _digits_table()
    pixels, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    images = np.rint(pixels * 255 / 16).astype(np.uint8)[..., None]
    if argument == "high":
        return Dataset("digits:high", images, labels, attribute=(labels >= 5).astype(np.int64))
    return Dataset("digits", images, labels, trait=pixels.sum(axis=(1, 2)))


def _digits_table() -> np.ndarray:
    """sklearn.datasets.load_digits's table (1797, 65), 64 pixels and the label, read from the file that it ships.

    Importing sklearn takes seconds, which every worker would pay before its first step: the file is tried first.
    """
    found = find_spec("sklearn")
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        with gzip.open(file, "rt") as lines:
            return np.loadtxt(lines, delimiter=",")
    from sklearn.datasets import load_digits

    raw = load_digits()
    return np.column_stack([raw.data, raw.target])
