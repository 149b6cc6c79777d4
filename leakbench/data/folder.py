"""Image files of a user's own."""

from __future__ import annotations

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import resize_and_crop, unchanged
from leakbench.data.folder_headers import name_folder, split_argument
from leakbench.data.image_cache import pack_images
from leakbench.data.image_files import ImageFiles
from leakbench.data.tables import find_table, read_table


def folder(argument: str, skip_broken: bool = False) -> Dataset:
    """folder:PATH or folder:PATH@SIZE: image files under a folder or in a .zip, of one size or made so.

    A labels.csv in the folder or beside it says what is known of them (columns file, label, attribute, group, split).
    """
    path, size = split_argument(argument)
    files = ImageFiles(path)
    names, known = files.names, {}
    table = find_table(path)
    if table is not None:
        known = read_table(table, names)
    change = unchanged if size is None else resize_and_crop(size)
    hint = f"folder:{path.name}@SIZE resizes and crops them all to SIZE x SIZE"
    pack = pack_images(
        "folder",
        {"files": files.identity, "size": size, "skip": skip_broken},
        lambda skipped: files.decode(skip_broken, skipped, change, hint),
    )
    left = ~np.isin(names, pack.skipped)
    columns = ("label", "attribute", "split", "group")
    labels, attribute, split, group = (known[c][left] if c in known else None for c in columns)
    return Dataset(
        name_folder(path, size), **(pack.fields | {"labels": labels}), attribute=attribute, split=split, group=group
    )
