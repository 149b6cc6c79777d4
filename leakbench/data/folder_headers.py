"""Image files of a folder by their headers: sizes, channels, labels and captions, without decoding a pixel.

Thousands of files take seconds, and torch is not imported. What a header says need not be true: a file that is cut off
has a good one. Decoding finds that (leakbench.data.decoding).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from leakbench.data.decoding import bombs_are_errors, decodes
from leakbench.data.dicom import UnreadableDicom, is_dicom, read_dicom_header
from leakbench.data.folder_facts import read_facts
from leakbench.data.folder_name import FolderName
from leakbench.data.group_names import NumberedGroups
from leakbench.data.image_files import ImageFiles
from leakbench.data.image_kinds import channels_of, is_taken, kind_of
from leakbench.data.orientation import is_sideways, orientation_of
from leakbench.data.refused_images import BROKEN, SIZE, Refusals, Remedies
from leakbench.data.tables import Table
from leakbench.runtime.errors import UsageError

_THREADS = 8  # they wait for the disk, mostly
_CHUNK = 64  # files that a thread takes at one time


class ImageHeader(NamedTuple):
    """Facts of an image file that its header tells.

    name: its path below the folder, with '/'. mode: Pillow's, such as L, RGB, P, RGBA, CMYK or I;16; "" where it cannot
    be read, or says too large an image. width, height: pixels, as they will be seen: turned where that is asked
    for. see_through: it has a transparent colour. reason: of one that cannot be read, as far as it is known.
    """

    name: str
    mode: str = ""
    width: int = 0
    height: int = 0
    see_through: bool = False
    reason: str = ""

    @property
    def channels(self) -> int:
        """Channels of its pixels, once converted where that is needed: 1 or 3; 0 where it is refused in any case."""
        return channels_of(self.mode)


@dataclass(frozen=True)
class FolderHeaders:
    """Facts about the images of a folder or a .zip that are known before any is decoded.

    given: the name by which they were asked for. files: one header a file, in the order of their names. table: what
    labels.csv and subfolders say of each.
    """

    given: FolderName
    files: tuple[ImageHeader, ...]
    table: Table

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.given.title

    @property
    def count(self) -> int:
        """Number of image files, of which some may not decode."""
        return len(self.files)

    @cached_property
    def shapes(self) -> Counter[tuple[int, int, int]]:
        """Number of files of each (channels, height, width), once resized; channels 0: refused or unreadable."""
        sides = (self.given.size, self.given.size) if self.given.size is not None else None
        return Counter((file.channels, *(sides or (file.height, file.width))) for file in self.files)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height and width of most files, 3 channels if one has them; None where no header can be read.

        Whether pictures in files of 3 channels are grey everywhere, and so count as grey, is known once they are
        decoded.
        """
        taken = [(number, shape) for shape, number in self.shapes.items() if shape[0]]
        return (max(shape[0] for _, shape in taken), *max(taken)[1][1:]) if taken else None

    def shape_for(self, channels: int) -> tuple[int, int, int] | None:
        """The shape, with so many channels (1 or 3) where decoding may still come to that."""
        if self.shape is None:
            return None
        possible = self.given.convert or channels <= self.shape[0]
        return (channels if possible else self.shape[0], *self.shape[1:])

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (N,) of labels.csv or of subfolders, or None."""
        return self.table.columns.get("label")

    @property
    def groups(self) -> NumberedGroups | None:
        """Whose each image is, or None."""
        known = self.table.columns.get("group")
        return None if known is None else NumberedGroups(known, self.table.group_names)

    @property
    def subfolders(self) -> tuple[str, ...]:
        """Names of the first folders below this one that hold images, in order; "" for the folder itself."""
        return tuple(sorted({file.name.rpartition("/")[0].partition("/")[0] for file in self.files}))

    @cached_property
    def captioned(self) -> int:
        """Number of images with a .txt file beside them."""
        place = self.given.path
        texts = {p.relative_to(place).as_posix() for p in place.rglob("*.txt")} if place.is_dir() else set()
        return sum(str(PurePosixPath(file.name).with_suffix(".txt")) in texts for file in self.files)


def read_folder_headers(argument: str) -> FolderHeaders:
    """Read the headers of a folder, and its labels.csv; `argument` is its name without `folder:`. Raises UsageError."""
    name = FolderName.parse(argument)
    files = ImageFiles(name.path)
    table = read_facts(name, files)
    return FolderHeaders(name, read_headers(files, name.upright), table)


def read_headers(files: ImageFiles, upright: bool = False) -> tuple[ImageHeader, ...]:
    """The headers of image files, in the order of their names; upright: as their EXIF turns them. Raises nothing for
    those that cannot be read."""
    names = files.names
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    with bombs_are_errors(), ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda chunk: [_read_header(files, name, upright) for name in chunk], chunks)
        return tuple(header for chunk in found for header in chunk)


def check_headers(name: FolderName, files: Iterable[ImageHeader], skip: bool) -> None:
    """Raise UsageError that names all files which will be refused, as far as headers tell. Where nothing is wrong but
    that some cannot be read, decoding is left to find all of these.

    skip: files that do not decode are left out, so those that would be refused are decoded, to see whether they do.
    """
    files = tuple(files)
    refused, common = Refusals(), _common_sides(files)
    for file in files:
        kind = kind_of(file.mode, file.see_through)
        if not file.mode:
            refused.add(BROKEN, file.name, file.reason)
        elif not is_taken(kind, name.convert, name.levels is not None):
            refused.add(kind, file.name, file.mode)
        elif name.size is None and (file.width, file.height) != common:
            refused.add(SIZE, file.name, f"{file.width}x{file.height}, not {common[0]}x{common[1]}")
    if skip:
        refused.found.pop(BROKEN, None)
        images = ImageFiles(name.path)
        with bombs_are_errors():
            refused.keep(lambda file: decodes(file, images.read))
    if set(refused.found) - {BROKEN}:
        raise UsageError(refused.words(str(name.path), len(files), remedies_for(name, files)))


def remedies_for(name: FolderName, files: Iterable[ImageHeader]) -> Remedies:
    """What to do about files that are refused, with the options to type."""
    side = max(2, min(_common_sides(tuple(files))))
    convert, sized = replace(name, convert=True).title, replace(name, size=side).title
    return Remedies(
        convert=f"--convert makes all of them 8-bit grey or RGB (in a suite: {convert})",
        colours=f"save all of them alike, or --convert makes them RGB (in a suite: {convert})",
        levels=f"--levels LOW:HIGH says which value is black and which is white (in a suite: {name.title},levels=0:1)",
        size=f"--size {side} resizes and crops all of them (in a suite: {sized})",
    )


def _common_sides(files: tuple[ImageHeader, ...]) -> tuple[int, int]:
    """Width and height of most files; of the first among equals."""
    found = Counter((file.width, file.height) for file in files if file.mode)
    return found.most_common(1)[0][0] if found else (0, 0)


def _read_header(files: ImageFiles, name: str, upright: bool) -> ImageHeader:
    from PIL import Image

    try:
        if is_dicom(name):
            return ImageHeader(name, *read_dicom_header(files.read(name)))
        with files.open(name) as file, Image.open(file) as image:
            sides = image.size[::-1] if upright and is_sideways(orientation_of(image)) else image.size
            return ImageHeader(name, image.mode, *sides, "transparency" in image.info)
    except UnreadableDicom as refusal:
        return ImageHeader(name, reason=str(refusal))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return ImageHeader(name, reason=f"more than {Image.MAX_IMAGE_PIXELS:,} pixels")
    except Exception:  # decoders raise whatever they like: OSError, SyntaxError, struct.error ...
        return ImageHeader(name)
