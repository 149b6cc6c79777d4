"""Image files of a user's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.decoding import Decoding, Notes, Row, resize_and_crop, unchanged
from leakbench.data.folder_facts import read_facts
from leakbench.data.folder_headers import check_headers, read_headers, remedies_for
from leakbench.data.folder_name import FolderName
from leakbench.data.image_cache import Pack, pack_images
from leakbench.data.image_files import ImageFiles
from leakbench.data.image_kinds import channels_of, to_grey
from leakbench.data.mapped_pages import PageKeeper

_ROWS = 64  # images that are held at one time


def folder(argument: str, skip_broken: bool = False) -> Dataset:
    """folder:PATH or folder:PATH@SIZE: image files under a folder, in a .zip or in .tar shards, of one size or made so.

    Images that are grey everywhere count as grey, whatever their files are; `,convert` behind it converts kinds of
    files that are refused otherwise (leakbench.data.image_kinds), `,levels=LOW:HIGH` states the range of values of
    floating point and more than 8 bits, `,upright` turns images as their EXIF says. A labels.csv in the folder or
    beside it says what is known of the images (columns file, label, attribute, group, split); `,labels=folder`
    takes the folders below PATH as labels; `,group-by=folder`, `,group-by=PATTERN` and `,groups=FILE.csv` say whose
    each image is. Raises UsageError.
    """
    name = FolderName.parse(argument)
    files = ImageFiles(name.path)
    names = files.names
    table = read_facts(name, files)
    pack = pack_images(
        "folder",
        {"files": files.identity, "size": name.size, "skip": skip_broken, "convert": name.convert, **_further(name)},
        lambda notes: _decode(name, files, skip_broken, notes),
    )
    wanted = _channels(name, pack)
    remarks = (*_remarks(name, pack, wanted), *table.remarks)
    pack = pack if pack.images.shape[-1] == wanted else _with_channels(pack, wanted)
    left = ~np.isin(names, pack.skipped)
    columns = ("label", "attribute", "split", "group")
    labels, attribute, split, group = (table.columns[c][left] if c in table.columns else None for c in columns)
    return Dataset(
        name.title,
        **(pack.fields | {"labels": labels}),
        attribute=attribute,
        split=split,
        group=group,
        remarks=remarks,
        group_names=table.group_names,
    )


def _further(name: FolderName) -> dict[str, object]:
    """Options that are part of a pack's key where they are set alone: so packs from before them stay."""
    options = {"upright": name.upright, "levels": name.levels and str(name.levels)}
    return {key: value for key, value in options.items() if value}


def _decode(name: FolderName, files: ImageFiles, skip: bool, notes: Notes) -> Iterator[Row]:
    """The images, RGB if one of the files has colours, else grey. What headers tell is checked first."""
    headers = read_headers(files, name.upright)
    check_headers(name, headers, skip)
    channels = 3 if any(channels_of(header.mode) == 3 for header in headers) else None
    change = unchanged if name.size is None else resize_and_crop(name.size)
    remedies = remedies_for(name, headers)
    options = Decoding(change, remedies, skip, name.convert, channels, name.upright, name.levels)
    return files.decode(options, notes)


def _channels(name: FolderName, pack: Pack) -> int:
    """Channels that the images are given: as the name wants them if that is possible, else 1 if all are grey."""
    natural, coloured = pack.images.shape[-1], bool(pack.facts["coloured"])
    if name.channels == 3:
        return 3 if name.convert or natural == 3 else 1
    if name.channels == 1:
        return 1 if name.convert or not coloured else 3
    return 3 if coloured else 1


def _remarks(name: FolderName, pack: Pack, channels: int) -> tuple[str, ...]:
    """What was made of the files, for messages and reports."""
    facts, said = pack.facts, []
    coloured, count = facts["coloured"], len(pack.images)
    said += [f"{number} {kind}: converted" for kind, number in facts["converted"].items()]
    if noted := facts.get("noted", 0):  # a pack of an earlier version does not say
        done = "applied" if name.upright else "not applied (--upright applies it on all sides)"
        said.append(f"{noted} of {count} have a rotation noted in EXIF: {done}")
    if cut := facts.get("cut", 0):
        said.append(f"{cut} of {count} hold values beyond {name.levels}: cut to them")
    if pack.images.shape[-1] == 3 and not coloured and channels == 1:
        said.append("grey everywhere in files of colour: taken as grey")
    if coloured and channels == 1:
        said.append(f"{coloured} of {count} in colour: converted to grey")
    elif facts["stored_grey"] and channels == 3:
        said.append(f"{facts['stored_grey']} of {count} grey: repeated as RGB")
    elif coloured and name.channels == 1:
        said.append(f"{coloured} of {count} are in colour, such as {', '.join(facts['first_coloured'])}")
    return tuple(f"{name.title}: {words}" for words in said)


def _with_channels(pack: Pack, channels: int) -> Pack:
    """The same images as grey (1) or RGB (3), in a pack of their own, which goes by their contents."""

    def rows(_: Notes) -> Iterator[Row]:
        pages = PageKeeper(pack.images)
        for start in range(0, len(pack.images), _ROWS):
            block = pack.images[start : start + _ROWS]
            pages.note(block.nbytes)
            yield to_grey(block) if channels == 1 else np.repeat(block, channels, axis=-1), None

    made = pack_images("channels", {"pixels": pack.pixels, "count": len(pack.images), "channels": channels}, rows)
    return replace(made, skipped=pack.skipped, facts=pack.facts)
