"""Places that hold image files: a folder, and a .zip."""

from __future__ import annotations

import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from leakbench.data.dicom import check_dicom, is_dicom
from leakbench.data.image_cache import identify_file
from leakbench.runtime.errors import UsageError
from leakbench.runtime.zip_members import ZIP_FAULTS

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")


class ImageSource(Protocol):
    """Image files by their names, and what stands beside them."""

    @property
    def names(self) -> list[str]:
        """Names of image files, with '/', in any order; one that stands there twice is named twice."""

    @property
    def identity(self) -> list[Any]:
        """Names, sizes and times of files: other ones when one is added, removed or changed."""

    @property
    def labels(self) -> dict[str, int] | None:
        """The class label of every image, where the source holds them itself."""

    def read(self, name: str) -> bytes:
        """The bytes of an image file."""

    def open(self, name: str) -> IO[bytes]:
        """An image file, of which only what is asked for is read."""

    def caption(self, name: str) -> bytes | None:
        """The text beside an image, in UTF-8, or None."""


def is_image(name: str) -> bool:
    """True where a file's name ends as that of an image."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def select_images(where: Path, names: list[str]) -> list[str]:
    """The names of image files, or where there are none those of DICOM files. Raises UsageError where these cannot be
    read here."""
    images = [name for name in names if is_image(name)]
    if images:
        return images
    found = [name for name in names if is_dicom(name)]
    if found:
        check_dicom(str(where))
    return found


class FolderSource:
    """The image files below a folder."""

    labels = None

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> list[str]:
        files = (p for p in self.path.rglob("*") if p.is_file() and not p.name.startswith("."))
        return sorted(select_images(self.path, [file.relative_to(self.path).as_posix() for file in files]))

    @property
    def identity(self) -> list[Any]:
        return [[name, *identify_file(self.path / name)[1:]] for name in self.names]

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    def caption(self, name: str) -> bytes | None:
        beside = (self.path / name).with_suffix(".txt")
        return beside.read_bytes() if beside.is_file() else None


class ZipSource:
    """The image files in a .zip. Raises UsageError where it is none."""

    labels = None

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except ZIP_FAULTS as error:
            raise UsageError(f"{path}: is no folder and no .zip of images ({error})") from None

    @property
    def names(self) -> list[str]:
        return select_images(self.path, [name for name in self._zip.namelist() if not name.startswith("__MACOSX/")])

    @property
    def identity(self) -> list[Any]:
        return identify_file(self.path)

    def read(self, name: str) -> bytes:
        return self._zip.read(name)

    def open(self, name: str) -> IO[bytes]:
        return self._zip.open(name)

    def caption(self, name: str) -> bytes | None:
        beside = str(PurePosixPath(name).with_suffix(".txt"))
        try:
            return self._zip.read(beside)
        except KeyError:
            return None
        except ZIP_FAULTS as error:
            raise UsageError(f"{self.path}: {beside}: cannot be read ({error})") from None
