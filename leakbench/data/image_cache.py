"""Decoded images, packed once into one file and opened as a memory map: a million images never sit in memory.

A pack is a folder $LEAKBENCH_CACHE/packed/KEY with `images.npy`, uint8 (N, H, W, C), `labels.npy`, int64 (N,), where
the source has labels, and `pack.json`: the sha256 of the pixels, the names of files that did not decode, and what else
its source noted. The key is a hash of the sources' identity (names, sizes, times of last change) and of the options, so
a changed source is packed anew. It is written under a temporary name, then renamed. A pack of up to 256 MiB is hashed
at every start, as other artefacts are; of a larger one (that would read gigabytes) no more is noticed than a file that
is shorter than its header says. Both are named and made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from leakbench.data.dataset import hash_images
from leakbench.data.decoding import Notes
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.keys import compute_key
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.files import check_writable
from leakbench.runtime.progress import progress

Rows = Callable[[Notes], Iterable[tuple[np.ndarray, np.ndarray | None]]]

_REPORT_EVERY = 50_000  # images after which a line says how far it is
_HASHED = 256 * 2**20  # bytes of a pack that are hashed at every start
_FORMAT = 2  # raise it when the same sources would be decoded to other pixels


@dataclass(frozen=True)
class Pack:
    """Packed images (a memory map) and labels, sha256 of the pixels, the folder, the files that were left out, and the
    facts that the source noted."""

    images: np.ndarray
    labels: np.ndarray | None
    pixels: str
    folder: Path
    skipped: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that a Dataset takes from it."""
        return {key: getattr(self, key) for key in ("images", "labels", "pixels", "folder", "skipped")}


def pack_images(name: str, identity: dict[str, Any], rows: Rows) -> Pack:
    """Pack the images of a data set, or open the pack that is there. Raises what decoding raises, and then leaves
    nothing behind.

    `rows(notes)` gives blocks of images, uint8 (n, H, W, C) of one size, with their labels (n,) or None, one after
    the other, and writes into `notes` what it leaves out; it is called only where there is no pack yet.
    """
    store = ArtefactCache(cache_root(), "packed")
    key = compute_key(format=_FORMAT, name=name, **identity)
    if store.exists(key) and (_is_large(store.path(key)) or store.get_valid(key)):
        try:
            return _open(store.path(key))
        except (OSError, ValueError, KeyError) as error:
            print(f"leakbench: damaged pack {store.path(key)}: {error}; making it again", file=sys.stderr)
            store.delete(key)
    check_writable(store.folder, "cache folder")
    with progress(f"decoding the images of a {name}" if name != "sides" else "joining members and nonmembers"):
        return _open(store.write(key, lambda folder: _write(name, rows, folder)))


def hash_once(images: np.ndarray, identity: dict[str, Any]) -> Pack:
    """The pack of images (N, H, W, C) that stay mapped where they lie: their pixels are hashed once."""
    store = ArtefactCache(cache_root(), "packed")

    def note(folder: Path) -> None:
        (folder / "pack.json").write_text(json.dumps({"pixels": hash_images(images)}) + "\n")

    folder = store.get_or_make(compute_key(format=_FORMAT, **identity), note)
    return Pack(images, None, json.loads((folder / "pack.json").read_text())["pixels"], folder)


def _is_large(folder: Path) -> bool:
    images = folder / "images.npy"
    return images.is_file() and images.stat().st_size > _HASHED


def _open(folder: Path) -> Pack:
    said = json.loads((folder / "pack.json").read_text())
    images, labels = np.load(folder / "images.npy", mmap_mode="r"), folder / "labels.npy"
    return Pack(
        images,
        np.load(labels) if labels.is_file() else None,
        said["pixels"],
        folder,
        tuple(said["skipped"]),
        said["facts"],
    )


def _write(name: str, rows: Rows, folder: Path) -> None:
    """One pass: the number of images is known at its end, so the header is written twice, in the same room."""
    total, shape = hashlib.sha256(), (0, 0, 0, 0)
    notes = Notes()
    labels: list[np.ndarray] = []
    with (folder / "images.npy").open("wb") as file:
        for block, known in rows(notes):
            if not shape[0]:
                file.write(_header((0, *block.shape[1:])))
            before, shape = shape[0], (shape[0] + len(block), *block.shape[1:])
            if before // _REPORT_EVERY != shape[0] // _REPORT_EVERY:
                print(f"leakbench: {name}: {shape[0]:,} images packed", file=sys.stderr)
            pixels = np.ascontiguousarray(block).tobytes()
            total.update(pixels)
            file.write(pixels)
            labels += [] if known is None else [known]
        file.seek(0)
        file.write(_header(shape))
    if labels:
        np.save(folder / "labels.npy", np.concatenate(labels).astype(np.int64))
    said = {"pixels": total.hexdigest(), "skipped": notes.skipped, "facts": notes.facts, "name": name}
    (folder / "pack.json").write_text(json.dumps(said, indent=1) + "\n")


def _header(shape: tuple[int, ...]) -> bytes:
    """An .npy header; numpy leaves room for the first axis to grow, so its length does not depend on that."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return text.getvalue()


def identify_file(path: Path) -> list[Any]:
    """Name, size and time of last change: they tell a file from a later one of the same name."""
    about = path.stat()
    return [path.name, about.st_size, about.st_mtime_ns]
