"""From the bytes of an image file to pixels, one image at a time.

Choices of ours: grey or RGB only. Transparency would have to be laid over some colour, and an image with it is refused;
so are CMYK and 16 bits. Black-and-white counts as grey, a palette as RGB, of several frames the first is taken, and a
rotation that is only noted in EXIF is not applied.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

Change = Callable[["Image.Image"], "Image.Image"]
Row = tuple[np.ndarray, np.ndarray | None]

MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
_KINDS = {1: "grey", 3: "RGB"}
_SHOWN = 5  # file names in one message


def decode_images(
    where: str,
    names: list[str],
    read: Callable[[str], bytes],
    skip: bool,
    skipped: list[str],
    change: Change,
    hint: str,
) -> Iterator[Row]:
    """The images of these names, uint8 (1, H, W, C) of one size, one by one; no labels.

    Those that do not decode are counted and named at the end, or put into `skipped` where `skip` says so. `change`
    crops or scales an image, `hint` says what to do about several sizes. Raises UsageError.
    """
    first: tuple[str, tuple[int, ...]] | None = None
    reasons: dict[str, str] = {}  # of those that were left out
    for name in names:
        image = _opened(name, read)
        if isinstance(image, str):
            skipped.append(name)
            reasons[name] = image
            continue
        pixels = _pixels(f"{where}: {name}", image, change)
        first = first or (name, pixels.shape)
        if pixels.shape != first[1]:
            raise UsageError(_unlike(f"{where}: {name}", pixels.shape, *first, hint))
        yield pixels[None], None
    if reasons and (not skip or first is None):
        hint = "" if skip else "; mend them, or leave them out with --skip-broken"
        raise UsageError(f"{where}: {_list_broken(reasons, len(names))}{hint}")
    if reasons:
        print(f"leakbench: {where}: left out {_list_broken(reasons, len(names), ' that')}", file=sys.stderr)


def _opened(name: str, read: Callable[[str], bytes]) -> Image.Image | str:
    """A decoded image, or the reason why there is none: empty where its bytes are no image."""
    from PIL import Image

    try:
        raw = read(name)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(raw))
            image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    except Exception:  # decoders raise whatever they like: OSError, SyntaxError, struct.error, zlib.error ...
        return ""
    return image


def _pixels(where: str, image: Image.Image, change: Change) -> np.ndarray:
    """uint8 (H, W, 1 or 3). Raises UsageError for other channels."""
    see_through = "transparency" in image.info
    if image.mode not in MODES or see_through:
        kind = f"{image.mode} with transparency" if see_through else image.mode
        raise UsageError(
            f"{where}: has {len(image.getbands())} channels ({kind}); it must be grey (1 channel) or RGB (3) of 8 "
            "bits each; nothing is dropped silently"
        )
    pixels = np.asarray(change(image.convert(MODES[image.mode])), dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., None]


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
        left, top = round((width - size) / 2), round((height - size) / 2)
        whole = image.resize((width, height), Image.Resampling.BILINEAR)
        return whole.crop((left, top, left + size, top + size))

    return change


def _unlike(where: str, shape: tuple[int, ...], first: str, other: tuple[int, ...], hint: str) -> str:
    if shape[2] != other[2]:
        return f"{where}: is {_KINDS[shape[2]]}, and {first} is {_KINDS[other[2]]}; save all of them alike"
    return f"{where}: is {shape[1]}x{shape[0]}, and {first} is {other[1]}x{other[0]}; {hint}"


def _list_broken(reasons: dict[str, str], count: int, that: str = "") -> str:
    """Number of the files that do not decode, and the first few names with their reasons."""
    names = [f"{name}: {reason}" if reason else name for name, reason in list(reasons.items())[:_SHOWN]]
    shown = ", ".join(names) + (", ..." if len(reasons) > _SHOWN else "")
    return f"{len(reasons)} of {count} image files{that} cannot be decoded ({shown})"
