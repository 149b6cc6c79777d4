"""Kinds of image files, and the rule by which those that are not 8-bit grey or RGB are converted.

Taken as they are: grey and RGB of 8 bits a channel, black-and-white (grey) and palettes (RGB). All others are refused
unless their owner asks for the conversion. The rule (choices of ours), the same for every file:

- transparency (RGBA, LA, a transparent colour): laid over white;
- 16 bits (levels 0 to 65535): divided by 257 and rounded, so that black stays black and white white;
- floating point: by the range of values that its owner states, never by that of a file (leakbench.data.levels). A
  stated range goes for more than 8 bits as well, instead of the rule above;
- CMYK, YCbCr, LAB, HSV: Pillow's formula to RGB, without colour profiles;
- RGB to grey, where grey is asked for: 0.299 R + 0.587 G + 0.114 B (ITU-R 601-2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from leakbench.data.levels import Levels

if TYPE_CHECKING:
    from PIL import Image

PLAIN = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # Pillow's modes that are taken as they are, and what as
_GREY = {"1", "L", "LA", "La"}  # modes that hold one channel; all of 16 bits do as well
_DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_FLOAT = {"F"}
_SEE_THROUGH = {"RGBA", "RGBa", "LA", "La", "PA"}
_COLOURS = {"CMYK", "YCbCr", "LAB", "HSV"}
_ALIKE = 1  # levels by which the channels of a grey pixel may differ: what lossy WebP does to grey pictures
WHITE_IS_LOW = "white is low"  # in the notes of an image whose lowest value is white

TRANSPARENT, DEEP = "have transparency", "are of 16 bits"  # what is said of such files
CMYK, OTHER = "are CMYK or the like", "are of another kind"
FLOAT, RANGED = "hold values of no stated range", "hold values of the stated range"


def kind_of(mode: str, see_through: bool) -> str:
    """Words for a kind of image that is refused unless converted; "" for one that is taken as it is."""
    if see_through or mode in _SEE_THROUGH:
        return TRANSPARENT
    if mode in PLAIN:
        return ""
    kinds = {DEEP: _DEEP, FLOAT: _FLOAT, CMYK: _COLOURS}
    return next((kind for kind, modes in kinds.items() if mode in modes), OTHER)


def is_taken(kind: str, convert: bool, ranged: bool) -> bool:
    """True where files of a kind are taken: with conversion, and with a stated range of values."""
    if kind in (DEEP, FLOAT) and ranged:
        return True
    return not kind or (convert and kind not in (FLOAT, OTHER))


def channels_of(mode: str) -> int:
    """Channels of a mode once it is converted: 1 or 3; 0 where it cannot be."""
    if mode in _GREY | _DEEP | _FLOAT:
        return 1
    return 3 if mode in {*PLAIN, *_SEE_THROUGH, *_COLOURS} else 0


def to_plain(image: Image.Image, levels: Levels | None = None) -> tuple[Image.Image, bool]:
    """An image as L or RGB of 8 bits by the rule, and whether it holds values beyond `levels`, the stated range.

    Raises ValueError for what the rule does not cover.
    """
    if levels is not None and image.mode in _DEEP | _FLOAT:
        from PIL import Image

        spread, beyond = levels.spread(np.asarray(image), WHITE_IS_LOW in image.info)
        return Image.fromarray(spread), beyond
    return _by_rule(image), False


def _by_rule(image: Image.Image) -> Image.Image:
    from PIL import Image

    target = {1: "L", 3: "RGB"}.get(channels_of(image.mode))
    if target is None or image.mode in _FLOAT:
        raise ValueError(f"mode {image.mode}")
    if image.mode in _DEEP:
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"levels from {levels.min()} to {levels.max()}")
        return Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if kind_of(image.mode, "transparency" in image.info) == TRANSPARENT:
        whole = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, whole).convert(target)
    return image.convert(target)


def is_grey(pixels: np.ndarray) -> bool:
    """True where the channels of an image, uint8 (H, W, C), are alike at every pixel."""
    if pixels.shape[-1] == 1:
        return True
    return _alike(pixels[::16]) and _alike(pixels)  # most pictures in colour show it in a few rows


def _alike(pixels: np.ndarray) -> bool:
    return bool((pixels.max(axis=-1) - pixels.min(axis=-1) <= _ALIKE).all())


def to_grey(images: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) -> uint8 (..., 1), by the rule."""
    levels = images.astype(np.int64) @ np.array([19595, 38470, 7471])  # as Pillow does, of which R = G = B stays
    return ((levels + 0x8000) >> 16).astype(np.uint8)[..., None]
