"""Two sets of faces whose people are known, by scikit-learn's loaders: Olivetti and Labeled Faces in the Wild (LFW).

Olivetti (AT&T, 1994): 400 photographs of 40 people, ten each, 64x64 grey. LFW (Huang et al. 2007, the funneled
version): 13,233 photographs of 5,749 people, from the news. The person is the group of an image. Choices of ours: of
LFW's 250x250 the middle 128x128, scaled to 64x64 RGB; all of both sets is one pool; no labels, as a person is no class.

The loaders download from scikit-learn's addresses, check hashes, and keep what they read as pickles of their own in
downloads/ of the cache. They are asked once: what they answered is kept as bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import Notes, Row
from leakbench.data.image_cache import pack_images
from leakbench.runtime.download.resource import downloads_folder, is_offline
from leakbench.runtime.errors import UsageError

_MIDDLE = slice(61, 189)
_ROWS = 256  # images that are turned into bytes at one time


def olivetti(argument: str) -> Dataset:
    """Olivetti faces: 400 photographs of 40 people, 64x64 grey; the person is the group."""
    if argument:
        raise UsageError(f"dataset 'olivetti:{argument}': write dataset = \"olivetti\", without an argument")
    return _load("olivetti", "", {}, "olivetti_py3.pkz", "fetch_olivetti_faces", {})


def lfw(argument: str) -> Dataset:
    """Labeled Faces in the Wild: 13,233 photographs of 5,749 people, 64x64 RGB; lfw:5 of people with at least five."""
    if argument and not (argument.isascii() and argument.isdigit() and 1 <= int(argument) <= 500):
        raise UsageError(f"dataset 'lfw:{argument}': write the least number of images of a person, such as lfw:5")
    least = int(argument or 1)
    options = {"color": True, "slice_": (_MIDDLE, _MIDDLE), "resize": 0.5, "min_faces_per_person": least}
    files = "lfw_home/lfw_funneled/ and pairs*.txt beside it"
    return _load("lfw", argument and f":{least}", {"least": least}, files, "fetch_lfw_people", options)


def _load(
    name: str, suffix: str, identity: dict[str, int], files: str, loader: str, options: dict[str, Any]
) -> Dataset:
    def rows(_: Notes) -> Iterator[Row]:
        found = _ask(name, files, loader, options)
        for start in range(0, len(found.images), _ROWS):
            levels = np.rint(found.images[start : start + _ROWS] * 255).astype(np.uint8)
            yield levels.reshape(*levels.shape[:3], -1), found.target[start : start + _ROWS]

    pack = pack_images(name, {"loader": loader, **identity}, rows)
    return Dataset(name + suffix, **(pack.fields | {"labels": None}), group=pack.labels)


def _ask(name: str, files: str, loader: str, options: dict[str, Any]) -> Any:
    """The answer of a loader of scikit-learn's. Raises UsageError."""
    from sklearn import datasets

    home, ask = downloads_folder() / name, getattr(datasets, loader)
    try:
        with redirect_stdout(sys.stderr):  # it prints what it downloads
            return ask(data_home=home, download_if_missing=not is_offline(), **options)
    except (OSError, ValueError) as error:  # no network, another hash; no person with so many images
        raise UsageError(
            f"dataset {name!r}: {error}; where there is no network, load it elsewhere by "
            f"sklearn.datasets.{loader}(data_home=FOLDER) and copy {files} from FOLDER into {home}"
        ) from None
