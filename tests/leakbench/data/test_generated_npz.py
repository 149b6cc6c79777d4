"""Generated images that a benchmark of private synthesis wrote (x, y) are read as any others, and audited."""

from __future__ import annotations

import numpy as np
import pytest

import leakbench
from leakbench.data.npz import npz
from leakbench.runner import run_log
from leakbench.runtime.errors import UsageError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (30, 8, 9, 3), dtype=np.uint8)


def written(folder, **arrays):
    np.savez(folder / "gen.npz", **arrays)
    return npz(str(folder / "gen.npz"))


def test_floats_with_channels_first_are_the_pixels_they_came_from(pixels, tmp_path):
    x = (pixels / 255).transpose(0, 3, 1, 2).astype(np.float32)
    data = written(tmp_path, x=x, y=np.arange(30) % 3)
    assert np.array_equal(data.images, pixels) and np.array_equal(data.labels, np.arange(30) % 3)
    assert data.shape == (3, 8, 9)


def test_values_just_beyond_the_range_are_cut(tmp_path):
    data = written(tmp_path, x=np.linspace(-0.03, 1.04, 30 * 64, dtype=np.float32).reshape(30, 1, 8, 8))
    assert data.images.min() == 0 and data.images.max() == 255 and data.labels is None


def test_channels_last_and_bytes_are_read_as_they_are(pixels, tmp_path):
    assert np.array_equal(written(tmp_path, x=pixels / 255).images, pixels)
    assert np.array_equal(written(tmp_path, x=pixels).images, pixels)


def test_images_of_that_name_go_first(pixels, tmp_path):
    assert np.array_equal(written(tmp_path, images=pixels, x=pixels[::-1]).images, pixels)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.full((30, 1, 8, 8), -1.0), "values from -1 to -1; .* x / 2 "),
        (np.full((30, 1, 8, 8), np.nan), "values from nan"),
        (np.zeros((30, 8, 8)), r"float64 of shape \(30, 8, 8\)"),
        (np.zeros((30, 1, 8, 8), dtype=np.int64), "int64 of shape"),
        (np.array([None] * 30), "pickled objects"),
    ],
)
def test_what_is_no_generated_image_is_named(x, said, tmp_path):
    with pytest.raises(UsageError, match=rf"gen\.npz: x: .*{said}"):
        written(tmp_path, x=x)


def test_an_audit_takes_the_file_as_its_samples(pixels, tmp_path, monkeypatch):
    """20 of the 40 samples are members to the pixel; of other noise 1 in 100 passes for a copy."""
    draw = np.random.default_rng(1)
    sides = draw.integers(0, 256, (2, 70, 8, 8, 3), dtype=np.uint8)
    for name, images in zip(("members", "nonmembers"), sides, strict=True):
        np.savez(tmp_path / f"{name}.npz", images=images)
    copied = np.concatenate([sides[0][:20], draw.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)])
    x = (copied / 255).transpose(0, 3, 1, 2).astype(np.float32)
    np.savez(tmp_path / "gen.npz", x=x, y=np.zeros(40, dtype=np.int64))
    monkeypatch.setattr(run_log, "FORMATS", ("csv",))
    folders = [str(tmp_path / f"{name}.npz") for name in ("members", "nonmembers", "gen")]
    options = {"attacks": "nearest_copy", "settings": {"quality.features": "pixels"}, "out": tmp_path / "run"}
    results = leakbench.audit(None, *folders[:2], samples=folders[2], workers=1, **options)
    assert results.metric("model", "nearest_copy", "copy_rate").value >= 0.5
