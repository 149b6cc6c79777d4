"""An image that somebody else's service answered, from bytes to pixels of the shape that is expected.

Its header is read first: an image of another size is refused before a pixel of it is decoded. Kinds are converted by
the rule of leakbench.data.image_kinds, as `--convert` does it, and grey answers to a question about RGB have three
equal channels, or the other way round.
"""

from __future__ import annotations

import io

import numpy as np

from leakbench.data.image_kinds import channels_of, is_taken, kind_of, to_grey, to_plain

_FORMATS = ("PNG", "JPEG", "WEBP")  # none of whose decoders runs another program


class WrongImage(Exception):
    """Why the bytes are no image of the shape, in words."""


def read_image(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Levels uint8 (H, W, C) of an image file, for a shape (C, H, W). Raises WrongImage."""
    from PIL import Image

    channels, height, width = shape
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Exception:  # decoders raise whatever they like
        raise WrongImage(f"{len(data)} bytes that are no image in {', '.join(_FORMATS)}") from None
    if image.size != (width, height):
        theirs, ours = (f"{w}x{h}" for w, h in (image.size, (width, height)))
        hint = f"--size {image.width}" if image.width == image.height else "images of that size"
        raise WrongImage(
            f"images of {theirs} (width x height), and members are {ours}: {hint}, or have it answer {ours}"
        )
    if not is_taken(kind_of(image.mode, "transparency" in image.info), True, False) or not channels_of(image.mode):
        raise WrongImage(f"an image of mode {image.mode}, which is neither grey nor RGB")
    try:
        image.load()
        levels = np.asarray(to_plain(image)[0], dtype=np.uint8)
    except Exception:
        raise WrongImage("an image that does not decode") from None
    levels = levels if levels.ndim == 3 else levels[..., None]
    if levels.shape[-1] == channels:
        return levels
    return to_grey(levels) if channels == 1 else np.repeat(levels, 3, axis=-1)
