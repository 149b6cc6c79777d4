"""Files of a data set's images, in the order of the numbers by which results speak of them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from leakbench.data.member_folders import SHARES, list_image_files, load_dataset
from leakbench.runtime.errors import UsageError


def name_images(name: str, skip_broken: bool) -> list[str]:
    """The path of every image of the data set of a name, by number: files of a folder in their order, those of members
    before those of nonmembers. Where a side is an array, the side and the position. Raises UsageError where no image
    lies in a file of its own."""
    kind, _, argument = name.partition(":")
    if kind == "folder":
        return _of_folder(name, name, skip_broken)
    options = dict(parse_qsl(argument)) if kind == "sides" else {}
    if not any(one.startswith("folder:") for one in options.values()):
        raise UsageError(f"dataset {name!r}: its images lie in no files of their own; results go by their numbers")
    skip = skip_broken or "skip_broken" in options
    return [file for side in SHARES for file in _of_folder(options[side], side, skip)]


def _of_folder(name: str, title: str, skip_broken: bool) -> list[str]:
    data = load_dataset(name, title, skip_broken)
    found = list_image_files(name, data.skipped)
    if found is None:
        return [f"{title} {position}" for position in range(len(data.images))]
    return [str(found[0] / file) for file in found[1]]
