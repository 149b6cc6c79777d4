"""LSUN church_outdoor (Yu et al. 1506.03365): 126,227 photographs of churches, RGB.

The publisher's archive holds an LMDB data base, which cannot be read without a library of its own: it is unpacked once
with the publisher's script, and the images, a folder or a .zip of them, are put into the cache. As in the DDIM code
(Song et al. 2010.02502) the shorter side is scaled to 256 by bilinear interpolation, and the middle 256x256 is taken.
"""

from __future__ import annotations

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import Decoding, resize_and_crop
from leakbench.data.image_cache import pack_images
from leakbench.data.image_files import ImageFiles
from leakbench.data.refused_images import Remedies
from leakbench.runtime.download.resource import downloads_folder
from leakbench.runtime.errors import UsageError

_NAME = "church_outdoor_train"


def lsun_church(argument: str, skip_broken: bool = False) -> Dataset:
    """LSUN church_outdoor, 256x256 RGB, or another size: lsun-church:64. The images are put into the cache by hand."""
    if argument and not (argument.isascii() and argument.isdigit() and 2 <= int(argument) <= 4096):
        raise UsageError(f"dataset 'lsun-church:{argument}': write the size after the colon, such as lsun-church:64")
    size, place = int(argument or 256), downloads_folder() / "lsun-church"
    path = next((p for p in (place / _NAME, place / f"{_NAME}.zip") if p.exists()), None)
    if path is None:
        raise UsageError(
            f"dataset 'lsun-church': no images in {place}; download http://dl.yf.io/lsun/scenes/{_NAME}_lmdb.zip, "
            "export its images with data.py of github.com/fyu/lsun (python data.py export), and put the folder, or a "
            f".zip of it, there as {_NAME} or {_NAME}.zip"
        )
    files = ImageFiles(path)
    identity = {"files": files.identity, "size": size, "skip": skip_broken}
    options = Decoding(resize_and_crop(size), Remedies(size=f"each should become {size}x{size}"), skip_broken)
    pack = pack_images("lsun-church", identity, lambda notes: files.decode(options, notes))
    return Dataset(f"lsun-church:{size}", **pack.fields)
