"""From the bytes of image files to pixels, several files at one time and in their order.

What kinds of files are taken, and what becomes of the others: leakbench.data.image_kinds. Choices of ours: of several
frames the first is taken, and a rotation that is only noted in EXIF is applied where its owner asks for that alone, to
every file then.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from leakbench.data.dicom import UnreadableDicom, is_dicom, open_dicom
from leakbench.data.image_kinds import DEEP, FLOAT, RANGED, is_grey, is_taken, kind_of, to_plain
from leakbench.data.levels import Levels
from leakbench.data.orientation import orientation_of, turn
from leakbench.data.refused_images import BROKEN, COLOUR, GREY, OTHER, SHOWN, SIZE, Refusals, Remedies
from leakbench.runtime.errors import UsageError, to_printable

if TYPE_CHECKING:
    from PIL import Image

Change = Callable[["Image.Image"], "Image.Image"]
Row = tuple[np.ndarray, np.ndarray | None]

_THREADS = 8
_AHEAD = 4  # images a thread that are decoded before they are asked for
_MOST_PIXELS = 2**28  # of an image that was made larger, before it is cropped


@dataclass
class Notes:
    """Facts that a source of images tells beside the pixels.

    skipped: names of files that were left out. facts: what else is to be kept with the pack, as JSON.
    """

    skipped: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoding:
    """Options of decoding: `change` crops or scales an image.

    skip: leave out what does not decode. convert: convert kinds that are refused otherwise. channels: 3 turns grey
    files into RGB of three equal channels. remedies: words on what to do about files that are refused. upright: turn
    images as their EXIF says. levels: the range of values of files of floating point or more than 8 bits.
    """

    change: Change
    remedies: Remedies
    skip: bool = False
    convert: bool = False
    channels: int | None = None
    upright: bool = False
    levels: Levels | None = None


@dataclass(frozen=True)
class _Decoded:
    """An image file decoded: pixels, uint8 (H, W, 1 or 3), or why it is refused.

    stored_grey: its file has one channel. converted: the kind that it was of, if it is taken by conversion. noted: its
    EXIF notes a rotation. cut: it holds values beyond the stated range.
    """

    name: str
    pixels: np.ndarray | None = None
    kind: str = ""
    detail: str = ""
    stored_grey: bool = False
    grey: bool = False
    converted: str = ""
    noted: bool = False
    cut: bool = False


def decode_images(
    where: str, names: list[str], read: Callable[[str], bytes], options: Decoding, notes: Notes
) -> Iterator[Row]:
    """The images of these names, uint8 (1, H, W, C) of one size, one by one; no labels.

    All files that are refused are named at the end, in one line; those that do not decode are put into `notes.skipped`
    where the options say so. `notes.facts` tells which files hold grey and which are in colour, how many were
    converted, by kind, how many note a rotation, and how many hold values beyond the stated range. Raises UsageError.
    """
    shape: tuple[int, ...] | None = None
    refused, left_out, colours = Refusals(), Refusals(), _Colours()
    for image in _decode_all(names, read, options):
        if image.pixels is None:
            (left_out if options.skip and image.kind == BROKEN else refused).add(image.kind, image.name, image.detail)
            continue
        shape = shape or image.pixels.shape
        colours.add(image)
        if image.pixels.shape[:2] != shape[:2]:
            refused.add(SIZE, image.name, f"{_sides(image.pixels.shape)}, not {_sides(shape)}")
        elif image.pixels.shape != shape:
            refused.add(GREY if image.stored_grey else COLOUR, image.name)
        if not refused.found:
            yield image.pixels[None], None
    if not options.convert:
        colours.refuse_mixture(refused)
    remedies = options.remedies
    if shape is None and not refused.found:
        refused, left_out, remedies = left_out, refused, replace(remedies, broken="none is left")
    if refused.found:
        raise UsageError(refused.words(where, len(names), remedies))
    if left_out.found:
        notes.skipped += left_out.found[BROKEN]
        words = f"{left_out.count} of {len(names)} image files that {BROKEN} ({left_out.list(BROKEN)})"
        print(to_printable(f"leakbench: {where}: left out {words}"), file=sys.stderr)
    notes.facts |= colours.facts


@dataclass
class _Colours:
    """Names of files that hold grey, and of those whose pictures are in colour; numbers of those converted, of those
    that note a rotation, and of those with values beyond the stated range."""

    stored_grey: list[str] = field(default_factory=list)
    coloured: list[str] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)
    noted: int = 0
    cut: int = 0

    def add(self, image: _Decoded) -> None:
        if image.stored_grey:
            self.stored_grey.append(image.name)
        if not image.grey:
            self.coloured.append(image.name)
        if image.converted:
            self.converted[image.converted] += 1
        self.noted += image.noted
        self.cut += image.cut

    def refuse_mixture(self, refused: Refusals) -> None:
        """Refuse the fewer of both kinds, where there are both."""
        if self.stored_grey and self.coloured:
            kind, names = min((COLOUR, self.coloured), (GREY, self.stored_grey), key=lambda pair: len(pair[1]))
            for name in names:
                refused.add(kind, name)

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "stored_grey": len(self.stored_grey),
            "coloured": len(self.coloured),
            "first_coloured": self.coloured[:SHOWN],
            "converted": dict(self.converted),
            "noted": self.noted,
            "cut": self.cut,
        }


def _decode_all(names: list[str], read: Callable[[str], bytes], options: Decoding) -> Iterator[_Decoded]:
    """All of them in order, a few ahead of what is asked for."""
    threads = min(_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[_Decoded]] = deque()
    with bombs_are_errors(), ThreadPoolExecutor(threads) as pool:  # Pillow decodes without Python's lock
        for name in names:
            waiting.append(pool.submit(_decode, name, read, options))
            if len(waiting) >= _AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Around all threads that open images: what becomes of warnings is set for the whole process."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="pydicom")  # they quote what stands in a file
        yield


def _decode(name: str, read: Callable[[str], bytes], options: Decoding) -> _Decoded:
    image = _open(name, read)
    if isinstance(image, str):
        return _Decoded(name, kind=BROKEN, detail=image)
    mode, kind = image.mode, kind_of(image.mode, "transparency" in image.info)
    if not is_taken(kind, options.convert, options.levels is not None):
        return _Decoded(name, kind=kind, detail=mode)
    if options.levels is not None and kind in (DEEP, FLOAT):
        kind = RANGED
    orientation = orientation_of(image)
    try:
        plain, cut = to_plain(image, options.levels)
        plain = turn(plain, orientation) if options.upright else plain
        changed = options.change(plain)
    except ValueError as error:
        return _Decoded(name, kind=OTHER, detail=str(error))
    stored_grey = plain.mode == "L"
    pixels = np.asarray(changed, dtype=np.uint8)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    grey = is_grey(pixels)
    if stored_grey and options.channels == 3:
        pixels = np.repeat(pixels, 3, axis=-1)
    return _Decoded(name, pixels, stored_grey=stored_grey, grey=grey, converted=kind, noted=orientation > 1, cut=cut)


def decodes(name: str, read: Callable[[str], bytes]) -> bool:
    """True where an image file decodes."""
    return not isinstance(_open(name, read), str)


def _open(name: str, read: Callable[[str], bytes]) -> Image.Image | str:
    """A decoded image, or the reason why there is none: empty where its bytes are no image."""
    from PIL import Image

    try:
        if is_dicom(name):
            return open_dicom(read(name))
        image = Image.open(io.BytesIO(read(name)))
        image.load()
    except UnreadableDicom as refusal:
        return str(refusal)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    except Exception:  # decoders raise whatever they like: OSError, SyntaxError, struct.error, zlib.error ...
        return ""
    return image


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def unchanged(image: Image.Image) -> Image.Image:
    """The change that changes nothing."""
    return image


def resize_and_crop(size: int) -> Change:
    """Shorter side to `size`, by bilinear interpolation, then the middle of the longer one: as torchvision's Resize and
    CenterCrop do."""

    def change(image: Image.Image) -> Image.Image:
        from PIL import Image

        short = min(image.size)
        width, height = (size if side == short else int(size * side / short) for side in image.size)
        if width * height > _MOST_PIXELS:
            raise ValueError(f"{width}x{height} pixels when its shorter side has {size}")
        left, top = round((width - size) / 2), round((height - size) / 2)
        whole = image.resize((width, height), Image.Resampling.BILINEAR)
        return whole.crop((left, top, left + size, top + size))

    return change
