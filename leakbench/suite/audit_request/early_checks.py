"""Checks of an audit request that need no decoded image: they come first, since decoding takes minutes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from leakbench.api import PretrainedSpec
from leakbench.data.folder_headers import FolderHeaders, check_headers, read_folder_headers
from leakbench.data.member_folders import check_count
from leakbench.runtime.errors import UsageError

_LEAST = 20  # generated images, as [quality] samples asks


class _Images(Protocol):
    """Images of a data set, decoded or not."""

    @property
    def shape(self) -> tuple[int, int, int] | None: ...
    @property
    def labels(self) -> np.ndarray | None: ...
    @property
    def remarks(self) -> tuple[str, ...]: ...


class _Seen(NamedTuple):
    """Images as their headers tell."""

    shape: tuple[int, int, int] | None
    labels: np.ndarray | None
    remarks: tuple[str, ...] = ()


def peek_at(name: str) -> FolderHeaders | None:
    """Facts about a data set's images, without decoding them; None where it is no folder. Raises UsageError."""
    kind, _, argument = name.partition(":")
    return read_folder_headers(argument) if kind == "folder" else None


def check_sides(sides: dict[str, str], model: PretrainedSpec | None, title: str, captions: str, skip: bool) -> None:
    """Check the numbers, sizes, channels and labels of the folders of members and nonmembers. Raises UsageError."""
    glimpses = {side: glimpse for side, name in sides.items() if (glimpse := peek_at(name)) is not None}
    for side, glimpse in glimpses.items():
        if not skip:
            check_count(side, glimpse.name, glimpse.count)
        check_headers(glimpse.given, glimpse.files, skip)
        if model is not None:
            seen = _Seen(glimpse.shape_for(model.images[0]), glimpse.labels)
            check_fits(f"--{side} {glimpse.name}", seen, model, title, labelled=bool(captions))


def check_samples(given: str, count: int, shape: tuple[int, ...] | None, expected: tuple[int, ...] | None) -> None:
    """Check that there are enough generated images, of the members' shape where both are known. Raises UsageError."""
    if count < _LEAST:
        raise UsageError(f"--samples {given}: {count} images, and at least {_LEAST} are needed")
    if shape is None or expected is None or shape == expected:
        return
    theirs, ours = ("x".join(map(str, one)) for one in (shape, expected))
    hint = (
        "they should be alike; --size N resizes and crops the images of folders"
        if shape[0] == expected[0]
        else "save all of them as grey or all as RGB, or --convert makes those of folders alike"
    )
    raise UsageError(
        f"--samples {given}: generated images are {theirs}, and members and nonmembers {ours} (channels, height, "
        f"width): {hint}"
    )


def check_fits(where: str, images: _Images, model: PretrainedSpec, title: str, labelled: bool = False) -> None:
    """Check that a model makes images of this shape and is told labels that they have. Raises UsageError.

    `labelled`: they are known to have labels, which are not looked at here.
    """
    if images.shape is not None:
        _check_shape(where, images.shape, model.images, title, images.remarks)
    count = model.network.conditions
    if not count or labelled:
        return
    if images.labels is None:
        raise UsageError(
            f"{where}: {title} is told one of {count} labels, and the images have none: write a labels.csv (columns "
            "file, label) into each folder, or say --labels folder where the subfolders are the classes"
        )
    if images.labels.max() >= count:
        raise UsageError(f"{where}: label {images.labels.max()}: {title} knows labels 0 to {count - 1}")


def _check_shape(
    where: str, shape: tuple[int, int, int], made: tuple[int, ...], title: str, remarks: tuple[str, ...]
) -> None:
    (channels, *size), (wanted, *side) = shape, made
    if channels != wanted:
        raise UsageError(
            f"{where}: images have {channels} channel{'s' if channels > 1 else ''}, and {title} makes images of "
            f"{wanted}: give images as it was trained on, or --convert makes those of folders "
            + ("grey" if wanted == 1 else "RGB")
            + "".join(f"; {remark}" for remark in remarks)
        )
    if size != side:
        hint = f"--size {side[0]} resizes and crops folders" if side[0] == side[1] else "resize them"
        told, makes = (f"{height}x{width}" for height, width in (size, side))
        raise UsageError(f"{where}: images are {told} (height x width), and {title} makes {makes}: {hint}")
