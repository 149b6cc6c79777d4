"""npy:PATH: images that are mapped where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.data import npy as npy_module
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (150, 8, 8), dtype=np.uint8)


def load(path):
    return registry.dataset(f"npy:{path}")()


def test_a_file_is_mapped_and_a_folder_holds_what_an_npz_holds(tmp_path):
    arrays = {"labels": np.arange(150) % 7, "index": np.arange(150) + 3, "group": np.arange(150) // 4}
    arrays["split"] = np.array(["pool"] * 150)
    np.save(tmp_path / "images.npy", IMAGES)
    alone = load(tmp_path / "images.npy")
    assert isinstance(alone.images, np.memmap) and alone.shape == (1, 8, 8) and alone.labels is None
    np.testing.assert_array_equal(alone.images[..., 0], IMAGES)
    for key, array in arrays.items():
        np.save(tmp_path / f"{key}.npy", array)
    np.savez(tmp_path / "same.npz", images=IMAGES, **arrays)
    whole, same = load(tmp_path), registry.dataset(f"npz:{tmp_path / 'same.npz'}")()
    assert whole.digest == same.digest
    for key, array in arrays.items():
        np.testing.assert_array_equal(getattr(whole, key), array)


def test_pixels_of_a_large_file_are_hashed_once_and_again_when_they_change(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(npy_module, "_LARGE", 1)
    np.save(tmp_path / "images.npy", IMAGES)
    first = load(tmp_path / "images.npy")
    assert first.folder is not None and first.folder.is_relative_to(cache)
    assert not any(path.stat().st_size > 1000 for path in first.folder.iterdir())  # nothing is copied
    hashed = []
    monkeypatch.setattr("leakbench.data.image_cache.hash_images", lambda images: hashed.append(1) or "another")
    assert load(tmp_path / "images.npy").digest == first.digest and not hashed
    np.save(tmp_path / "images.npy", IMAGES[:140])
    assert load(tmp_path / "images.npy").digest != first.digest and hashed


def test_bad_files_are_one_line_that_names_them(tmp_path):
    with pytest.raises(UsageError, match=r"npy:/no/such': no file /no/such; write npy:FILE\.npy, or npy:DIR"):
        load("/no/such")
    np.save(tmp_path / "images.npy", IMAGES.astype(float))
    with pytest.raises(UsageError, match=r"images\.npy: images: dtype is float64; it must be uint8"):
        load(tmp_path)
    np.save(tmp_path / "images.npy", np.array([{}] * 3, dtype=object))
    with pytest.raises(UsageError, match=r"images\.npy: holds pickled objects, which are refused"):
        load(tmp_path)
    (tmp_path / "images.npy").write_bytes(b"no array")
    with pytest.raises(UsageError, match=r"images\.npy: (cannot be read|holds pickled objects)"):
        load(tmp_path)
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", np.arange(149))
    with pytest.raises(UsageError, match=r"labels: shape is \(149,\); it must be \(150,\)"):
        load(tmp_path)
