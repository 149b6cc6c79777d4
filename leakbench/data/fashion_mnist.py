"""Fashion-MNIST (Xiao et al. 1708.07747): 70,000 pictures of clothes, 28x28 grey.

Four gzipped files in MNIST's format: big-endian, a magic number (2051 images, 2049 labels), the sizes, then bytes. The
MD5 sums are those of the publisher's page. Rows: the 60,000 training images, then the 10,000 test images; all pool.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.image_cache import identify_file, pack_images
from leakbench.runtime.download.resource import Resource, downloads_folder, fetch
from leakbench.runtime.errors import UsageError

_BLOCK = 1000  # images that are read at one time
_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
RESOURCES = tuple(
    Resource(
        name="Fashion-MNIST",
        file=file,
        urls=(f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{file}",),
        md5=md5,
    )
    for file, md5 in _MD5.items()
)


def fashion_mnist(argument: str) -> Dataset:
    """Fashion-MNIST: 70,000 pictures of ten kinds of clothes, 28x28 grey."""
    if argument:
        raise UsageError(f"dataset 'fashion-mnist:{argument}': write dataset = \"fashion-mnist\", without an argument")
    folder = downloads_folder() / "fashion-mnist"
    paths = [fetch(resource, folder) for resource in RESOURCES]
    pack = pack_images("fashion-mnist", {"files": [identify_file(path) for path in paths]}, lambda _: _rows(*paths))
    return Dataset("fashion-mnist", **pack.fields)


def _rows(train: Path, test: Path, *labels: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for images, labelled in zip((train, test), labels, strict=True):
        with _opened(labelled, 2049) as file:
            (count,) = struct.unpack(">I", file.read(4))
            known = np.frombuffer(file.read(), np.uint8)
        with _opened(images, 2051) as file:
            sizes = struct.unpack(">III", file.read(12))
            if not count == sizes[0] == len(known):
                raise UsageError(
                    f"{images}: holds {sizes[0]} images, and {labelled.name} {len(known)} of {count} labels"
                )
            for start in range(0, count, _BLOCK):
                some = known[start : start + _BLOCK]
                pixels = np.frombuffer(file.read(len(some) * sizes[1] * sizes[2]), np.uint8)
                yield pixels.reshape(len(some), *sizes[1:], 1), some


@contextmanager
def _opened(path: Path, magic: int) -> Iterator[IO[bytes]]:
    """A gzipped file of this magic number, behind it. What is wrong with it is a UsageError, also later."""
    try:
        with gzip.open(path) as file:
            if file.read(4) != struct.pack(">I", magic):
                raise ValueError("another kind of file")
            yield file  # type: ignore[misc]
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); delete it, and it is fetched again") from None
