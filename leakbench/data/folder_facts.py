"""What is known of the image files of a folder beside their pixels: by labels.csv, and by its subfolders if asked.

Shards may hold labels of their own (leakbench.data.tar_shards, parquet_images); those of a labels.csv go before them.

Whose the images are is said by the column `group`, or, where that is asked for, by the names of the files or by a table
of groups (leakbench.data.group_by_name), never by two of these.

Subfolders are class labels only where their owner says so (`,labels=folder` in the name; `--labels folder`): they may
as well be dates or cameras. The label of an image is then the number of the first folder below PATH that it lies in, in
the order of their names; where all of these are whole numbers, that number.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from leakbench.data.folder_name import FolderName
from leakbench.data.group_by_name import names_in_files
from leakbench.data.group_names import number_names
from leakbench.data.image_files import ImageFiles
from leakbench.data.refused_images import SHOWN
from leakbench.data.tables import Table, find_table, read_group_table, read_table
from leakbench.runtime.errors import UsageError


def read_facts(name: FolderName, images: ImageFiles) -> Table:
    """Labels and other facts about the files of a folder, in their order. Raises UsageError."""
    path, files = find_table(name.path), images.names
    table = _with_groups(Table() if path is None else read_table(path, files), path, name, images)
    if not name.label_folders:
        held = None if "label" in table.columns else images.labels
        return table if held is None else replace(table, columns=table.columns | {"label": held})
    if "label" in table.columns:
        raise UsageError(f"{path}: has labels already: leave out --labels folder, or the column `label`")
    classes = list_classes(name, images)
    numeric = all(folder.isascii() and folder.isdigit() and len(folder) < 10 for folder in classes)
    number = {folder: int(folder) if numeric else place for place, folder in enumerate(classes)}
    labels = np.array([number[file.partition("/")[0]] for file in files], dtype=np.int64)
    return replace(table, columns=table.columns | {"label": labels})


def _with_groups(table: Table, path: Path | None, name: FolderName, images: ImageFiles) -> Table:
    """The table with the groups that are asked for otherwise than by its own column."""
    option = "group-by" if name.group_by else "groups" if name.groups else ""
    if not option:
        return table
    if "group" in table.columns:
        raise UsageError(f"{path}: says whose each image is: leave out --{option}, or the column `group`")
    if name.groups:
        return table.with_groups(number_names(read_group_table(name.groups, [(name.path, images.names)])[0]))
    return table.with_groups(number_names(names_in_files("--group-by", name.group_by, name.path, images)))


def list_classes(name: FolderName, images: ImageFiles) -> list[str]:
    """The folders that are classes, in order. Raises UsageError where images lie in none."""
    if images.in_shards:
        raise UsageError(
            f"--labels folder: {name.path}: its images lie in several shards, which are no classes: write a labels.csv"
        )
    files = images.names
    outside = [file for file in files if "/" not in file]
    if outside:
        more = f", and {len(outside) - SHOWN} more" if len(outside) > SHOWN else ""
        raise UsageError(
            f"--labels folder: {name.path}: {len(outside)} of {len(files)} image files lie in no subfolder "
            f"({', '.join(outside[:SHOWN])}{more}): put each into the folder of its class, or write a labels.csv"
        )
    return sorted({file.partition("/")[0] for file in files})
