"""DICOM files as images; needs the extra leakbench[dicom].

Pixels alone are taken; names, dates and other words in a file are not looked at. Choices of ours: values are in the
file's own units (its modality table or slope and intercept applied: Hounsfield units of CT) as floating point, and need
a range that their owner states; a window that a file suggests is not applied, for each may suggest another. Grey of 8
bits without such units, and RGB (or YCbCr) of 8 bits, are taken as they are. MONOCHROME1, whose lowest value is white,
is turned over. Of several frames the first is taken. Deflated files are refused: they could unpack to anything.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from leakbench.data.image_kinds import WHITE_IS_LOW
from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

_DEFLATED = b"1.2.840.10008.1.2.1.99"  # as it stands in a file
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


class UnreadableDicom(ValueError):
    """A DICOM file that is refused, and why, in words of our own."""


def is_dicom(name: str) -> bool:
    """True where a file's name ends as that of a DICOM file."""
    return PurePosixPath(name).suffix.lower() in (".dcm", ".dicom")


def check_dicom(where: str) -> None:
    """Raise UsageError where DICOM files cannot be read here. `where` begins the message."""
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise UsageError(f"{where}: holds DICOM files, which need pydicom: pip install 'leakbench[dicom]'") from None


def read_dicom_header(content: bytes) -> tuple[str, int, int]:
    """Mode (as Pillow's: L, RGB, F of values whose range is to be stated, or another word of what is not taken), width
    and height. Raises UnreadableDicom and what pydicom raises."""
    found = _read(content, pixels=False)
    return _mode(found), int(found.Columns), int(found.Rows)


def open_dicom(content: bytes) -> Image.Image:
    """The first frame, in the mode of its header. Raises UnreadableDicom and what pydicom raises."""
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, pixel_array

    found = _read(content, pixels=True)
    mode, white_is_low = _mode(found), found.PhotometricInterpretation == _GREYS[0]
    if mode not in ("L", "RGB", "F"):
        raise UnreadableDicom(mode)
    try:
        values = pixel_array(found, index=0)
    except RuntimeError as error:
        if "missing dependencies" not in str(error):
            raise
        kind = found.file_meta.TransferSyntaxUID.name
        raise UnreadableDicom(f"compressed as {kind}: install a plugin of pydicom for it") from None
    if mode == "F":
        image = Image.fromarray(apply_modality_lut(values, found).astype(np.float32))
        image.info |= {WHITE_IS_LOW: True} if white_is_low else {}
        return image
    return Image.fromarray(255 - values if white_is_low else values)


def _read(content: bytes, pixels: bool) -> Any:
    """A file's elements. Raises UnreadableDicom."""
    import pydicom
    from PIL import Image

    if _DEFLATED in content:
        raise UnreadableDicom("deflated, which is not read")
    found = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=not pixels)
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and not 0 < int(found.Rows) * int(found.Columns) <= most:
        raise UnreadableDicom(f"more than {most:,} pixels")
    return found


def _mode(found: Any) -> str:
    kind, samples = str(found.PhotometricInterpretation), int(found.SamplesPerPixel)
    plain = int(found.BitsAllocated) == int(found.get("BitsStored", 0)) == 8
    unsigned = plain and int(found.get("PixelRepresentation", 0)) == 0
    if samples == 3 and kind in _COLOURS and unsigned:
        return "RGB"
    if samples != 1 or kind not in _GREYS:
        return f"{kind[:20]} of {samples} samples of {int(found.BitsAllocated)} bits"
    units = "ModalityLUTSequence" in found or (
        float(found.get("RescaleSlope") or 1),
        float(found.get("RescaleIntercept") or 0),
    ) != (1, 0)
    return "L" if unsigned and not units else "F"
