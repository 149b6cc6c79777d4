"""The rotation that a camera noted in a file's EXIF (or XMP) instead of turning the pixels.

A TIFF's own tag of that name is no note beside the pixels but tells in which order they are stored: Pillow follows it
in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_TAG = 0x0112  # Orientation, in EXIF 2.3
_NOTED_IN = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")  # Pillow's keys of what it found in a file


def orientation_of(image: Image.Image) -> int:
    """How an image is to be turned, 1 to 8 as in EXIF; 1, not at all, where nothing that can be read says so."""
    if image.format == "TIFF" or not any(key in image.info for key in _NOTED_IN):
        return 1
    try:
        found = image.getexif().get(_TAG, 1)
    except Exception:  # of EXIF that is damaged: struct.error, SyntaxError, ValueError ...
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def is_sideways(orientation: int) -> bool:
    """True where turning swaps width and height."""
    return orientation >= 5


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """The image as its orientation says that it is to be looked at."""
    from PIL.Image import Transpose

    how = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(how[orientation]) if orientation in how else image
