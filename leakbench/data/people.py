"""A toy of people: digits of scikit-learn, each seen in several small random affine maps, which need no download.

Each digit stands for a person, its maps for photographs of that person: turned, scaled, sheared and moved a little. The
images of a person resemble one another more than they resemble others, as photographs do, and are no near-duplicates.
A choice of ours, made for trials of statistics and suites; nothing that it shows is evidence about people.
"""

from __future__ import annotations

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.digits import digits
from leakbench.runtime.errors import UsageError

_PEOPLE = 600
_PHOTOGRAPHS = 8  # of a person, unless told otherwise
_MOST = 32
_TURN, _SCALE, _SHEAR, _MOVE = 0.25, 0.12, 0.12, 0.7  # radians, shares, shares, pixels: the largest either way
_SEED = 0x9E09


def people(argument: str) -> Dataset:
    """600 people in K images each, 8x8 grey: digits in K random affine maps. `people`: K = 8; `people:K`: another K,
    2 to 32. Labels are digits, the group is the person, and the sensitive attribute is the stroke weight.

    The same K gives the same images. Raises UsageError for another K.
    """
    if argument and not (argument.isascii() and argument.isdigit() and 2 <= int(argument) <= _MOST):
        raise UsageError(
            f"dataset 'people:{argument}': write dataset = \"people:K\" with K images of a person, 2 to {_MOST}"
        )
    photographs = int(argument or _PHOTOGRAPHS)
    base = digits("")
    assert base.labels is not None and base.trait is not None
    count = _PEOPLE
    draw = np.random.default_rng([_SEED, photographs])
    images = np.stack([_seen(base.images[:count, ..., 0], draw) for _ in range(photographs)], axis=1)
    return Dataset(
        f"people:{photographs}",
        images.reshape(count * photographs, 8, 8, 1),
        np.repeat(base.labels[:count], photographs),
        trait=np.repeat(base.trait[:count], photographs),
        group=np.repeat(np.arange(count), photographs),
    )


def _seen(images: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Images (N, 8, 8), uint8, each in an affine map of its own, by bilinear interpolation; outside is black."""
    count, height, width = images.shape
    turn, scale, shear = (draw.uniform(-most, most, (count, 1, 1)) for most in (_TURN, _SCALE, _SHEAR))
    down, across = draw.uniform(-_MOVE, _MOVE, (2, count, 1, 1))
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    sine, cosine = np.sin(turn), np.cos(turn)
    x = x + shear * y
    rows = (1 + scale) * (cosine * y + sine * x) + (height - 1) / 2 + down
    columns = (1 + scale) * (cosine * x - sine * y) + (width - 1) / 2 + across
    return np.rint(_interpolate(np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.float64), rows, columns)).astype(
        np.uint8
    )


def _interpolate(framed: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values of images (N, H + 2, W + 2) with a black frame at places (N, H, W) of what they frame."""
    number = np.arange(len(framed))[:, None, None]
    y, x = (np.clip(at + 1, 0, size - 1 - 1e-9) for at, size in ((rows, framed.shape[1]), (columns, framed.shape[2])))
    top, left = y.astype(np.int64), x.astype(np.int64)
    below, right = y - top, x - left
    upper = framed[number, top, left] * (1 - right) + framed[number, top, left + 1] * right
    lower = framed[number, top + 1, left] * (1 - right) + framed[number, top + 1, left + 1] * right
    found: np.ndarray = upper * (1 - below) + lower * below
    return found
