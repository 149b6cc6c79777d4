"""MedMNIST v2 (Yang et al. 2110.14795): twelve sets of medical images, 28x28 grey or RGB, from Zenodo.

One .npz a set, with train, val and test images and labels; the MD5 sums are those that the publisher's package checks.
Choices of ours: the three parts are pooled, since they differ in class balance, in the order train, val, test. Where
there are two classes the label is the sensitive attribute as well (pneumoniamnist: 1 is pneumonia). The 14 labels of a
chestmnist image are no class, so that set has none. The sets of volumes (…mnist3d) and of larger images are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from leakbench.data.dataset import Dataset
from leakbench.data.image_cache import identify_file, pack_images
from leakbench.data.npz_blocks import open_array
from leakbench.runtime.download.resource import Resource, downloads_folder, fetch
from leakbench.runtime.errors import UsageError, nearest_name

_PARTS = ("train", "val", "test")
_MD5 = {
    "bloodmnist": "7053d0359d879ad8a5505303e11de1dc",
    "breastmnist": "750601b1f35ba3300ea97c75c52ff8f6",
    "chestmnist": "02c8a6516a18b556561a56cbdd36c4a8",
    "dermamnist": "0744692d530f8e62ec473284d019b0c7",
    "octmnist": "c68d92d5b585d8d81f7112f81e2d0842",
    "organamnist": "68e3f8846a6bd62f0c9bf841c0d9eacc",
    "organcmnist": "b9ceb9546e10131b32923c5bbeaea2b1",
    "organsmnist": "9ab87b696fb54e2a387ebe992d6ed5f1",
    "pathmnist": "a8b06965200029087d5bd730944a56c1",
    "pneumoniamnist": "28209eda62fecd6e6a2d98b1501bb15f",
    "retinamnist": "bd4c0672f1bba3e3a89f0e4e876791e4",
    "tissuemnist": "ebe78ee8b05294063de985d821c1c34b",
}
RESOURCES = {
    name: Resource(
        name=f"MedMNIST {name}",
        file=f"{name}.npz",
        urls=(f"https://zenodo.org/records/10519652/files/{name}.npz?download=1",),
        md5=md5,
    )
    for name, md5 in _MD5.items()
}


def medmnist(argument: str) -> Dataset:
    """medmnist:NAME: medical images, 28x28, such as medmnist:pneumoniamnist; a binary label is the attribute too."""
    if argument not in RESOURCES:
        raise UsageError(f"dataset 'medmnist:{argument}': no such set; {nearest_name(argument, RESOURCES)}")
    path = fetch(RESOURCES[argument], downloads_folder() / "medmnist")
    pack = pack_images(f"medmnist:{argument}", {"file": identify_file(path)}, lambda _: _rows(path))
    binary = pack.labels is not None and set(np.unique(pack.labels).tolist()) == {0, 1}
    return Dataset(f"medmnist:{argument}", attribute=pack.labels if binary else None, **pack.fields)


def _rows(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    for part in _PARTS:
        labels = np.concatenate(list(open_array(path, f"{part}_labels").blocks))
        images = open_array(path, f"{part}_images")
        if labels.ndim != 2 or len(labels) != images.shape[0] or images.dtype != np.uint8 or len(images.shape) < 3:
            raise UsageError(f"{path}: {part}: images {images.shape} and labels {labels.shape} do not belong together")
        start = 0
        for block in images.blocks:
            known = labels[start : start + len(block), 0] if labels.shape[1] == 1 else None
            start += len(block)
            yield block.reshape(*block.shape[:3], -1), known
