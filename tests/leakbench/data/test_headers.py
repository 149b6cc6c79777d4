"""Headers of data sets: what they tell agrees with what decoding finds, and neither torch nor pixels are needed."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from leakbench.data.headers import peek
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def mixed(tmp_path):
    """Files of several kinds in two subfolders, captions beside some, and one file that is no image."""
    place = tmp_path / "mixed"
    for kind in ("cats", "dogs"):
        (place / kind).mkdir(parents=True)
    Image.fromarray(pixels(6, 8, 3)).save(place / "cats/rgb.jpg")
    Image.fromarray(pixels(6, 8)).save(place / "cats/grey.png")
    Image.fromarray(pixels(6, 8, 4)).save(place / "dogs/rgba.png")
    Image.fromarray(pixels(6, 8).astype(np.uint16)).save(place / "dogs/deep.png")
    Image.fromarray(pixels(6, 8, 3)).quantize(7).save(place / "dogs/hole.png", transparency=3)
    Image.fromarray(pixels(6, 8, 3)).save(place / "dogs/web.webp")
    Image.new("CMYK", (8, 6)).save(place / "dogs/press.tif")
    (place / "dogs/broken.png").write_bytes(b"no image")
    (place / "cats/rgb.txt").write_text("a cat")
    return place


def test_headers_tell_mode_size_channels_subfolders_and_captions(mixed, tmp_path):
    found = peek(f"folder:{mixed}")
    assert {file.name: (file.mode, file.channels) for file in found.files} == {
        "cats/grey.png": ("L", 1),
        "cats/rgb.jpg": ("RGB", 3),
        "dogs/broken.png": ("", 0),
        "dogs/deep.png": ("I;16", 1),
        "dogs/hole.png": ("P", 3),
        "dogs/press.tif": ("CMYK", 3),
        "dogs/rgba.png": ("RGBA", 3),
        "dogs/web.webp": ("RGB", 3),
    }
    assert {(file.width, file.height) for file in found.files if file.mode} == {(8, 6)}
    assert (found.count, found.shape, found.subfolders, found.captioned) == (8, (3, 6, 8), ("cats", "dogs"), 1)
    assert peek(f"folder:{mixed}@4").shape == (3, 4, 4)
    shutil.make_archive(str(tmp_path / "packed"), "zip", mixed)
    assert peek(f"folder:{tmp_path / 'packed.zip'}").files == found.files


def test_headers_of_arrays_agree_with_the_arrays(tmp_path):
    images, labels = pixels(5, 6, 8, 3), np.arange(5)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    np.savez_compressed(tmp_path / "grey.npz", images=images[..., 0])
    np.savez(tmp_path / "gen.npz", x=np.zeros((5, 3, 6, 8), np.float32), y=labels)
    np.save(tmp_path / "a.npy", images)
    for name in ("npz:a.npz", "npz:grey.npz", "npz:gen.npz", "npy:a.npy"):
        kind, _, file = name.partition(":")
        found, data = peek(f"{kind}:{tmp_path / file}"), registry.dataset(f"{kind}:{tmp_path / file}")()
        assert (found.name, found.count, found.shape) == (data.name, len(data.images), data.shape)
        np.testing.assert_array_equal(found.labels, data.labels)
    assert peek("digits") is None
    with pytest.raises(UsageError, match="key 'images' is missing"):
        np.savez(tmp_path / "b.npz", pictures=images)
        peek(f"npz:{tmp_path / 'b.npz'}")


def test_a_pixel_is_never_decoded(tmp_path, monkeypatch):
    Image.fromarray(pixels(6, 8, 3)).save(tmp_path / "a.png")
    np.savez(tmp_path / "a.npz", images=pixels(5, 6, 8))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    monkeypatch.setattr("leakbench.data.npz_blocks.NpzArray.blocks", None)
    assert peek(f"folder:{tmp_path}").shape == (3, 6, 8)
    assert peek(f"npz:{tmp_path / 'a.npz'}").shape == (1, 6, 8)


def test_headers_are_read_without_torch_and_pandas(mixed):
    code = f"import sys; from leakbench.data.headers import peek; peek('folder:{mixed}'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "diffusers", "scipy", "pandas"} & set(loaded)
