"""Image files of a folder by their headers: sizes, channels, labels and captions, without decoding a pixel.

Thousands of files take seconds, and torch is not imported. What a header says need not be true: a file that is cut off
has a good one. Decoding finds that (leakbench.data.decoding).
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from leakbench.data.decoding import MODES
from leakbench.data.image_files import ImageFiles
from leakbench.data.tables import find_table, read_table
from leakbench.runtime.errors import UsageError

_THREADS = 8  # they wait for the disk, mostly
_CHUNK = 64  # files that a thread takes at one time


class ImageHeader(NamedTuple):
    """Facts of an image file that its header tells.

    name: its path below the folder, with '/'. mode: Pillow's, such as L, RGB, P, RGBA, CMYK or I;16; "" where it cannot
    be read, or says too large an image. width, height: pixels. see_through: it has a transparent colour.
    """

    name: str
    mode: str = ""
    width: int = 0
    height: int = 0
    see_through: bool = False

    @property
    def channels(self) -> int:
        """Channels that decoding gives it: 1 or 3; 0 where it is refused."""
        return 0 if self.see_through else len(MODES.get(self.mode, ""))


@dataclass(frozen=True)
class FolderHeaders:
    """Facts about the images of a folder or a .zip that are known before any is decoded.

    name: of the data set. path: the folder. size: pixels a side to which they are resized and cropped, or None.
    files: one header a file, in the order of their names. table: int64 (N,) `label`, `attribute`, `group` and the words
    of `split`, as far as labels.csv has them.
    """

    name: str
    path: Path
    size: int | None
    files: tuple[ImageHeader, ...]
    table: dict[str, np.ndarray]

    @property
    def count(self) -> int:
        """Number of image files, of which some may not decode."""
        return len(self.files)

    @cached_property
    def shapes(self) -> Counter[tuple[int, int, int]]:
        """Number of files of each (channels, height, width), as decoded; channels 0: refused."""
        sides = (self.size, self.size) if self.size is not None else None
        return Counter((file.channels, *(sides or (file.height, file.width))) for file in self.files)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of most files that are taken; None where none is."""
        taken = [(number, shape) for shape, number in self.shapes.items() if shape[0]]
        return max(taken)[1] if taken else None

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (N,) of labels.csv, or None."""
        return self.table.get("label")

    @property
    def subfolders(self) -> tuple[str, ...]:
        """Names of the first folders below this one that hold images, in order; "" for the folder itself."""
        return tuple(sorted({file.name.rpartition("/")[0].partition("/")[0] for file in self.files}))

    @cached_property
    def captioned(self) -> int:
        """Number of images with a .txt file beside them."""
        texts = {p.relative_to(self.path).as_posix() for p in self.path.rglob("*.txt")} if self.path.is_dir() else set()
        return sum(str(PurePosixPath(file.name).with_suffix(".txt")) in texts for file in self.files)


def read_folder_headers(argument: str) -> FolderHeaders:
    """Read the headers of folder:PATH[@SIZE] (given without `folder:`), and its labels.csv. Raises UsageError."""
    path, size = split_argument(argument)
    files = ImageFiles(path)
    table = find_table(path)
    known = {} if table is None else read_table(table, files.names)
    return FolderHeaders(name_folder(path, size), path, size, read_headers(files), known)


def read_headers(files: ImageFiles) -> tuple[ImageHeader, ...]:
    """The headers of image files, in the order of their names. Raises nothing for those that cannot be read."""
    names = files.names
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    with _bombs_are_errors(), ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda chunk: [_read_header(files, name) for name in chunk], chunks)
        return tuple(header for chunk in found for header in chunk)


def name_folder(path: Path, size: int | None) -> str:
    """Name of the data set of a folder."""
    return f"folder:{path.name}" + (f"@{size}" if size else "")


def split_argument(argument: str) -> tuple[Path, int | None]:
    """PATH and SIZE of PATH[@SIZE]; a path that ends like a size and exists is a path. Raises UsageError."""
    path, size = Path(argument).expanduser(), None
    found = re.fullmatch(r"(.+)@(\d+)", argument)
    if found and not path.exists():
        path, size = Path(found[1]).expanduser(), int(found[2])
    if not argument or not path.exists():
        raise UsageError(f"dataset 'folder:{argument}': no such folder; write folder:PATH or folder:PATH@SIZE")
    if size is not None and not 2 <= size <= 4096:
        raise UsageError(f"dataset 'folder:{argument}': SIZE = {size}: it should be from 2 to 4096")
    return path, size


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    """Around all threads: what warnings do is set for the whole process."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _read_header(files: ImageFiles, name: str) -> ImageHeader:
    from PIL import Image

    try:
        with files.open(name) as file, Image.open(file) as image:
            return ImageHeader(name, image.mode, image.width, image.height, "transparency" in image.info)
    except Exception:  # decoders raise whatever they like: OSError, SyntaxError, struct.error ...
        return ImageHeader(name)
