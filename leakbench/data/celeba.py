"""CelebA (Liu et al. 2015): 202,599 faces of celebrities, cropped and scaled to 64x64 as the DDIM code does.

Song et al. (2010.02502, datasets of their code): of the aligned 178x218 pictures the square of half-side 64 around
x = 89, y = 121, scaled from 128x128 to 64x64 by bilinear interpolation. The publisher's files lie on pages without a
direct address, so they have to be put into the cache by hand. Rows: by file name, which is the publisher's order; all
of them are pool. The sensitive attribute is one of the 40 of list_attr_celeba.txt, where 1 is yes and -1 is no. Where
identity_CelebA.txt lies there too, the images of a person are a group.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import Decoding, resize_and_crop
from leakbench.data.image_cache import pack_images
from leakbench.data.image_files import ImageFiles
from leakbench.data.refused_images import Remedies
from leakbench.runtime.download.resource import downloads_folder
from leakbench.runtime.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from PIL import Image

_PICTURES, _TABLE, _PEOPLE = "img_align_celeba.zip", "list_attr_celeba.txt", "identity_CelebA.txt"
_SIZE = (178, 218)
_BOX = (89 - 64, 121 - 64, 89 + 64, 121 + 64)  # left, top, right, bottom


def celeba(argument: str, skip_broken: bool = False) -> Dataset:
    """CelebA: 202,599 faces, 64x64 RGB; celeba:ATTRIBUTE names the sensitive one of the 40 (default Male)."""
    place = downloads_folder() / "celeba"
    for file in (_PICTURES, _TABLE):
        if not (place / file).is_file():
            raise UsageError(
                f"dataset 'celeba': {file} is not in {place}; download {_PICTURES} (Align&Cropped Images) and {_TABLE} "
                "from the publisher's page, mmlab.ie.cuhk.edu.hk/projects/CelebA.html, and put both there"
            )
    values = _attribute(place / _TABLE, argument or "Male")
    files = ImageFiles(place / _PICTURES)
    names = files.names
    _check_rows(place / _TABLE, values, names)
    people = _people(place / _PEOPLE) if (place / _PEOPLE).is_file() else None
    if people is not None:
        _check_rows(place / _PEOPLE, people, names)
    options = Decoding(_cropped, Remedies(size=f"all of them should be {_SIZE[0]}x{_SIZE[1]}"), skip_broken)
    identity = {"files": files.identity, "skip": skip_broken}
    pack = pack_images("celeba", identity, lambda notes: files.decode(options, notes))
    left = [name for name in names if name not in set(pack.skipped)]
    attribute = np.array([values[Path(name).name] for name in left], dtype=np.int64)
    index = None if len(left) == len(names) else np.flatnonzero(np.isin(names, left))
    group = None if people is None else np.array([people[Path(name).name] for name in left], dtype=np.int64)
    return Dataset(f"celeba:{argument or 'Male'}", attribute=attribute, index=index, group=group, **pack.fields)


def _check_rows(table: Path, values: dict[str, int], names: list[str]) -> None:
    """Raise UsageError where images have no row in a table."""
    missing = [name for name in names if Path(name).name not in values]
    if missing:
        raise UsageError(f"{table}: {len(missing)} of {len(names)} images have no row, such as {missing[0]!r}")


def _people(path: Path) -> dict[str, int]:
    """File name -> number of the person. Raises UsageError."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) != 2 or not (words[1].isascii() and words[1].isdigit()):
            raise UsageError(f"{path}: {line[:40]!r}: should be a file name and the number of a person")
        found[words[0]] = int(words[1])
    return found


def _cropped(image: Image.Image) -> Image.Image:
    if image.size != _SIZE:
        raise UsageError(
            f"celeba: an image is {image.size[0]}x{image.size[1]}, not {_SIZE[0]}x{_SIZE[1]}; "
            f"{_PICTURES} should hold the aligned and cropped images"
        )
    return resize_and_crop(64)(image.crop(_BOX))


def _attribute(path: Path, name: str) -> dict[str, int]:
    """File name -> 1 or 0: the table's first line is the number of images, its second the attributes' names."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    known = lines[1].split() if len(lines) > 2 else []
    if name not in known:
        raise UsageError(f"{path}: dataset 'celeba:{name}': unknown attribute; {nearest_name(name, known)}")
    column, found = known.index(name) + 1, {}
    for line in lines[2:]:
        words = line.split()
        if len(words) != len(known) + 1 or words[column] not in ("1", "-1"):
            raise UsageError(f"{path}: {line[:40]!r}: should be a file name and {len(known)} values, 1 or -1")
        found[words[0]] = int(words[column] == "1")
    return found
