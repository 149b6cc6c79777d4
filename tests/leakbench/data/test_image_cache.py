"""A million images never sit in memory: packed once, mapped, and hashed once."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.data import dataset, image_cache, near_duplicates, npz_blocks
from leakbench.data import npz as npz_module
from leakbench.data.folder import folder
from leakbench.data.near_duplicates import find_near_duplicates
from leakbench.data.npz import npz
from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)


def peak(call):
    """What a call returns, and the most bytes that Python and numpy held in it."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def large(monkeypatch):
    """Every npz counts as a large one, and is read in small blocks."""
    monkeypatch.setattr(npz_module, "_LARGE", 1)
    monkeypatch.setattr(npz_blocks, "_BLOCK", 2**16)


@pytest.fixture
def many(tmp_path):
    """1,500 image files of 64x64 RGB: 18 MB of pixels."""
    place = tmp_path / "many"
    place.mkdir()
    for i in range(1500):
        Image.new("RGB", (64, 64), tuple(RANDOM.integers(0, 256, 3).tolist())).save(place / f"{i:04}.png")
    return place


def test_packing_a_folder_takes_far_less_memory_than_its_images(many):
    (many / "small").mkdir()
    (many / "0000.png").rename(many / "small" / "0000.png")
    folder(str(many / "small"))  # what is imported at first counts too
    (many / "small" / "0000.png").rename(many / "0000.png")
    data, most = peak(lambda: folder(str(many)))
    assert data.images.nbytes == 1500 * 64 * 64 * 3
    assert most < data.images.nbytes / 4
    assert isinstance(data.images, np.memmap)
    opened, most = peak(lambda: folder(str(many)))
    assert most < data.images.nbytes / 4
    assert opened.digest == data.digest
    _, most = peak(lambda: opened.tensors(np.array([3, 1400])))
    assert most < data.images.nbytes / 20
    assert int(opened.images[7, 0, 0, 0]) == Image.open(many / "0007.png").getpixel((0, 0))[0]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(3000, 40, 40), (900, 40, 40, 3)])
def test_a_large_npz_is_mapped_and_holds_the_same(tmp_path, large, monkeypatch, save, shape):
    images = np.tile(RANDOM.integers(0, 256, (1, *shape[1:]), dtype=np.uint8), (shape[0], *[1] * (len(shape) - 1)))
    images[:, 0, 0] = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 3)) % 251
    labels = np.arange(shape[0]) % 10
    save(tmp_path / "mine.npz", labels=labels, images=images, index=labels + 7)
    data, most = peak(lambda: npz(str(tmp_path / "mine.npz")))
    assert most < images.nbytes / 4
    assert isinstance(data.images, np.memmap)
    np.testing.assert_array_equal(data.images, images.reshape(*shape[:3], -1))
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(data.index, labels + 7)
    monkeypatch.setattr(npz_module, "_LARGE", 2**60)
    whole = npz(str(tmp_path / "mine.npz"))
    assert not isinstance(whole.images, np.memmap)
    assert whole.digest == data.digest


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pixels_are_hashed_once(tmp_path, large, monkeypatch, save):
    path = tmp_path / "mine.npz"
    save(path, images=RANDOM.integers(0, 256, (300, 8, 8), dtype=np.uint8))
    first = npz(str(path)).digest

    def never(images):
        raise AssertionError("hashed again")

    monkeypatch.setattr(dataset, "hash_images", never)
    assert npz(str(path)).digest == first
    save(path, images=RANDOM.integers(0, 256, (300, 8, 8), dtype=np.uint8))
    os.utime(path, ns=(1, 1))
    assert npz(str(path)).digest != first


def test_a_damaged_large_npz_is_named(tmp_path, large):
    path = tmp_path / "mine.npz"
    np.savez(path, images=RANDOM.integers(0, 256, (300, 8, 8), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.npz: images: cannot be read"):
        npz(str(path))


def test_an_array_by_columns_is_left_to_numpy(tmp_path, large):
    images = np.asfortranarray(RANDOM.integers(0, 256, (300, 8, 8), dtype=np.uint8))
    np.savez(tmp_path / "mine.npz", images=images)
    np.testing.assert_array_equal(npz(str(tmp_path / "mine.npz")).images[..., 0], images)


def blocks(count, calls):
    def rows(skipped):
        calls.append(1)
        for i in range(count):
            yield np.full((2, 4, 5, 1), i % 256, np.uint8), np.array([i, i + 1])

    return rows


@pytest.mark.parametrize("large", [False, True])
def test_a_pack_is_made_once_per_source_and_again_when_it_was_damaged(cache, capsys, monkeypatch, large):
    if large:
        monkeypatch.setattr(image_cache, "_HASHED", 0)
    calls = []
    first = image_cache.pack_images("mine", {"file": 1}, blocks(3, calls))
    np.testing.assert_array_equal(first.images[:, 0, 0, 0], [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(first.labels, [0, 1, 1, 2, 2, 3])
    assert image_cache.pack_images("mine", {"file": 1}, blocks(3, calls)).pixels == first.pixels
    assert len(calls) == 1
    assert image_cache.pack_images("mine", {"file": 2}, blocks(4, calls)).pixels != first.pixels
    assert len(calls) == 2
    whole = (first.folder / "images.npy").read_bytes()
    (first.folder / "images.npy").write_bytes(whole[:-5])
    again = image_cache.pack_images("mine", {"file": 1}, blocks(3, calls))
    assert len(calls) == 3
    assert ("damaged pack" if large else "does not match its hash; making it again") in capsys.readouterr().err
    assert (again.folder / "images.npy").read_bytes() == whole


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "pack.json"])
def test_a_bit_turned_over_in_a_pack_is_found(cache, capsys, name):
    first = image_cache.pack_images("mine", {"file": 1}, blocks(3, []))
    whole = (first.folder / name).read_bytes()
    (first.folder / name).write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    again = image_cache.pack_images("mine", {"file": 1}, blocks(3, []))
    assert f"{name} does not match its hash; making it again" in capsys.readouterr().err
    assert (again.folder / name).read_bytes() == whole


def test_a_pack_that_could_not_be_finished_leaves_nothing(cache):
    def rows(skipped):
        yield from blocks(2, [])(skipped)
        raise UsageError("no more")

    with pytest.raises(UsageError, match="no more"):
        image_cache.pack_images("mine", {}, rows)
    assert list((cache / "packed").iterdir()) == []


def test_the_file_of_a_pack_is_one_that_numpy_reads(cache):
    pack = image_cache.pack_images("mine", {}, blocks(1200, []))  # four digits: the header was written for none
    images = np.load(pack.folder / "images.npy")
    assert images.shape == (2400, 4, 5, 1)
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.repeat(np.arange(1200) % 256, 2))


def twins(skipped):
    """Thirty noise images, each followed by its copy."""
    yield np.repeat(RANDOM.integers(0, 256, (30, 8, 8, 1), dtype=np.uint8), 2, axis=0), None


def test_near_duplicates_of_a_pack_are_looked_for_once(cache, monkeypatch):
    pack = image_cache.pack_images("twins", {}, twins)
    first = find_near_duplicates(dataset.Dataset("twins", **pack.fields))
    np.testing.assert_array_equal(first.keep, np.tile([True, False], 30))
    np.testing.assert_array_equal(first.resembles, np.repeat(np.arange(0, 60, 2), 2))
    monkeypatch.setattr(near_duplicates, "_keep", nothing_kept)
    again = find_near_duplicates(dataset.Dataset("twins", **pack.fields))
    for name in ("radius", "keep", "resembles", "distance"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    none = find_near_duplicates(dataset.Dataset("no pack", pack.images))
    assert not none.keep.any()  # nothing is cached for these


@pytest.mark.parametrize(
    "change", ["data/near_duplicates.py", "data/close_pairs.py", "radius", "precedence", "together"]
)
def test_near_duplicates_are_looked_for_again_when_what_they_depend_on_changes(cache, monkeypatch, edited, change):
    """Fault 4: what was found was kept by the radius alone."""
    pack = image_cache.pack_images("twins", {}, twins)
    data = dataset.Dataset("twins", **pack.fields)
    find_near_duplicates(data)
    monkeypatch.setattr(near_duplicates, "_keep", nothing_kept)
    if change.endswith(".py"):
        edited(change, lambda text: text + "\nX = 1\n")
    if change == "precedence":
        data = replace(data, precedence=np.tile([1, 0], 30))
    together = np.arange(60) if change == "together" else None
    assert not find_near_duplicates(data, 0.2 if change == "radius" else 0.15, together).keep.any()


def nothing_kept(seen, radius):
    """A search that leaves out everything."""
    return torch.zeros(len(seen.table), dtype=torch.bool)
