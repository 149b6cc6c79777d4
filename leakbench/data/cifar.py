"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 60,000 photographs, 32x32 RGB.

The publisher's Python archives are pickles, which run code when they are loaded. Its binary archives hold the same
images as plain bytes, and those are taken: a record is the label (CIFAR-100: the coarse, then the fine one) and 1024
red, 1024 green, 1024 blue values. The MD5 sums are those of the publisher's page. Rows: the 50,000 training images in
the official order, which the half split's index files speak of, then the 10,000 test images; all of them are pool.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.image_cache import identify_file, pack_images
from leakbench.runtime.download.resource import Resource, downloads_folder, fetch
from leakbench.runtime.errors import UsageError

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Archive:
    """Address of the binary version, its files in official order, and the bytes of labels before an image."""

    resource: Resource
    files: tuple[str, ...]
    labels: int


CIFAR10 = _Archive(
    Resource(
        name="CIFAR-10",
        file="cifar-10-binary.tar.gz",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        bytes=170_052_171,
    ),
    (*(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)), "cifar-10-batches-bin/test_batch.bin"),
    1,
)
CIFAR100 = _Archive(
    Resource(
        name="CIFAR-100",
        file="cifar-100-binary.tar.gz",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        md5="03b5dce01913d631647c71ecec9e9cb8",
        bytes=168_513_733,
    ),
    ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
    2,
)


def cifar10(argument: str) -> Dataset:
    """CIFAR-10: 60,000 photographs of ten kinds of things, 32x32 RGB; the first 50,000 rows are the training images."""
    return _load("cifar10", argument, CIFAR10)


def cifar100(argument: str) -> Dataset:
    """CIFAR-100: 60,000 photographs with 100 fine labels, 32x32 RGB; the first 50,000 rows are the training images."""
    return _load("cifar100", argument, CIFAR100)


def _load(name: str, argument: str, archive: _Archive) -> Dataset:
    if argument:
        raise UsageError(f"dataset '{name}:{argument}': {name} takes no argument; write dataset = \"{name}\"")
    path = fetch(archive.resource, downloads_folder() / name)
    pack = pack_images(name, {"archive": identify_file(path)}, lambda _: _records(path, archive))
    return Dataset(name, **pack.fields)


def _records(path: Path, archive: _Archive) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of one file of the archive after the other."""
    try:
        with tarfile.open(path, "r:gz") as packed_files:
            for name in archive.files:
                file = packed_files.extractfile(name)
                content = np.frombuffer(b"" if file is None else file.read(), np.uint8)
                if not content.size or content.size % (archive.labels + _PIXELS):
                    raise UsageError(f"{path}: {name}: {content.size} bytes are no whole number of images")
                records = content.reshape(-1, archive.labels + _PIXELS)
                images = records[:, archive.labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
                yield images, records[:, archive.labels - 1]
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); delete it, and it is fetched again") from None
