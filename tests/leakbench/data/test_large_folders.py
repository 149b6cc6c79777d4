"""Large folders: memory that stays bounded whatever the number of images, and nothing that is done twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.data import close_pairs, mapped_pages
from leakbench.data.close_pairs import Descriptions
from leakbench.data.image_view import FeatureRows, ImageView
from leakbench.data.member_folders import hash_each, name_sides
from leakbench.runtime import registry

STATUS = Path("/proc/self/status")
SIDE, COUNT = 256, 160  # 30 MiB


def file_pages():
    """Bytes of mapped files that count as this process's."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not STATUS.is_file(), reason="needs /proc")
def test_pages_of_a_mapped_file_are_let_go_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_pages, "_EVERY", 2**21)
    np.save(tmp_path / "a.npy", np.zeros((COUNT, SIDE, SIDE, 3), np.uint8))
    images = np.load(tmp_path / "a.npy", mmap_mode="r")
    view, before = ImageView(images), file_pages()
    for start in range(0, COUNT, 4):
        view[start : start + 4]
    assert file_pages() - before < images.nbytes / 4


def test_pages_of_what_may_be_written_are_kept(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8, 3), np.uint8))
    images = np.load(tmp_path / "a.npy", mmap_mode="c")
    images[0] = 7
    keeper = mapped_pages.PageKeeper(images)
    keeper.note(2**40)
    assert images[0].min() == 7


def test_close_images_are_compared_a_few_at_a_time(monkeypatch):
    """Also where very many are near one another: no more images of a table exist at once than fit the bound."""
    seen = []
    take = FeatureRows.__getitem__
    monkeypatch.setattr(
        FeatureRows, "__getitem__", lambda self, index: seen.append(len(take(self, index))) or take(self, index)
    )
    images = torch.zeros(90, 3, 8, 8)
    monkeypatch.setattr(close_pairs, "_ELEMENTS", 7 * 192)
    described = Descriptions.of(images)
    rows = torch.arange(90)
    found = sum(len(one) for one, _, _ in close_pairs.close_pairs(described, rows, described, rows, 0.1))
    assert found == 90 * 89  # every pair, but none of an image and itself
    assert max(seen) <= 7


def test_pixels_of_a_folder_are_hashed_once(tmp_path, monkeypatch):
    for side, count in (("members", 60), ("nonmembers", 80)):
        (tmp_path / side).mkdir()
        for number, image in enumerate(np.random.default_rng(count).integers(0, 256, (count, 8, 8), dtype=np.uint8)):
            Image.fromarray(image).save(tmp_path / side / f"{number}.png")
    name = name_sides(f"folder:{tmp_path / 'members'}", f"folder:{tmp_path / 'nonmembers'}")
    data = registry.dataset(name)()
    assert len(hash_each(data)) == 140
    monkeypatch.setattr("leakbench.data.member_folders.hashlib", None)
    with pytest.raises(AttributeError):  # whoever hashes now fails
        hash_each(type(data)("mine", data.images))
    assert hash_each(data) == sorted(hash_each(data))


def test_holes_in_the_heap_are_given_back_with_the_pages(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(mapped_pages, "_return_free_memory", lambda: given.append(True))
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8, 3), np.uint8))
    keeper = mapped_pages.PageKeeper(np.load(tmp_path / "a.npy", mmap_mode="r"))
    keeper.note(mapped_pages._EVERY - 1)
    assert not given
    keeper.note(1)
    assert given
    monkeypatch.undo()
    mapped_pages._return_free_memory()  # works on this machine
