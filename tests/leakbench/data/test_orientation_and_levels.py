"""Rotations noted in EXIF, and stated ranges of values: by Pillow's own transposition, and by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from leakbench.data.headers import peek
from leakbench.data.member_folders import name_sides

RANDOM = np.random.default_rng(0)
ORIENTATION = 0x0112


@pytest.fixture
def turned(tmp_path):
    """One picture a file, each with another of the eight orientations in its EXIF; all lie as 6 x 4 when turned."""
    place = tmp_path / "mine"
    place.mkdir()
    for number in range(1, 9):
        pixels = RANDOM.integers(0, 256, (6, 4, 3) if number >= 5 else (4, 6, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[ORIENTATION] = number
        Image.fromarray(pixels).save(place / f"{number}.png", exif=exif)
    return place


def test_images_are_turned_as_pillow_turns_them_where_asked_for(turned, load):
    data = load(f"folder:{turned},upright")
    seen = [ImageOps.exif_transpose(Image.open(turned / f"{n}.png")) for n in range(1, 9)]
    np.testing.assert_array_equal(data.images, [np.asarray(image) for image in seen])
    assert peek(f"folder:{turned},upright").shape == (3, 4, 6) == data.shape
    assert data.remarks == ("folder:mine,upright: 7 of 8 have a rotation noted in EXIF: applied",)


def test_and_otherwise_stay_as_they_are_stored_which_is_said(turned, load, refusal):
    assert "are of another size" in refusal(f"folder:{turned}")
    for number in range(5, 9):
        (turned / f"{number}.png").unlink()
    data = load(f"folder:{turned}")
    np.testing.assert_array_equal(data.images, [np.asarray(Image.open(turned / f"{n}.png")) for n in range(1, 5)])
    assert "3 of 4 have a rotation noted in EXIF: not applied (--upright applies it on all sides)" in data.remarks[0]


def test_exif_that_is_damaged_turns_nothing(tmp_path, load):
    pixels = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    for number, exif in enumerate([b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"nothing of the kind"]):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png", exif=exif)
    np.testing.assert_array_equal(load(f"folder:{tmp_path},upright").images, [pixels] * 3)


def test_floating_point_is_refused_until_its_range_is_stated(tmp_path, load, refusal):
    values = np.linspace(-1, 1, 48, dtype=np.float32).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / "a.tif")
    for option in ("", ",convert"):
        words = refusal(f"folder:{tmp_path}{option}")
        assert "hold values of no stated range (a.tif: F): --levels LOW:HIGH" in words
    data = load(f"folder:{tmp_path},levels=-1:1")
    np.testing.assert_array_equal(data.images[0, ..., 0], np.round((values + 1) / 2 * 255).astype(np.uint8))
    assert data.remarks == (f"folder:{tmp_path.name},levels=-1:1: 1 hold values of the stated range: converted",)
    assert peek(f"folder:{tmp_path},levels=-1:1").shape == (1, 6, 8)


def test_values_beyond_the_range_are_cut_and_counted(tmp_path, load):
    for name, high in {"a": 1.0, "b": 3.0}.items():
        Image.fromarray(np.linspace(0, high, 48, dtype=np.float32).reshape(6, 8)).save(tmp_path / f"{name}.tif")
    data = load(f"folder:{tmp_path},levels=0:1")
    assert data.images[1].max() == 255 and (data.images[1] == 255).sum() == 32
    assert "1 of 2 hold values beyond 0:1: cut to them" in data.remarks[1]


def test_no_number_is_no_level(tmp_path, refusal):
    values = np.zeros((6, 8), np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert "a.tif: holds values that are no numbers" in refusal(f"folder:{tmp_path},levels=0:1")


def test_a_range_goes_for_more_than_eight_bits_too(tmp_path, load):
    scan = RANDOM.integers(0, 4096, (6, 8)).astype(np.uint16)  # 12 bits stored in 16
    Image.fromarray(scan).save(tmp_path / "a.png")
    data = load(f"folder:{tmp_path},levels=0:4095")
    np.testing.assert_array_equal(data.images[0, ..., 0], np.rint(scan / 4095 * 255).astype(np.uint8))
    whole, converted = (load(f"folder:{tmp_path}{option}").images for option in (",levels=0:65535", ",convert"))
    np.testing.assert_array_equal(whole, converted)


@pytest.mark.parametrize("given", ["1:0", "0:0"])
def test_a_range_is_two_numbers_in_order(tmp_path, given, refusal):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert "LOW should be below HIGH" in refusal(f"folder:{tmp_path},levels={given}")


def test_both_sides_are_treated_alike(tmp_path, refusal):
    for side in "mn":
        (tmp_path / side).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / side / "a.png")
    members, nonmembers = (f"folder:{tmp_path / side}" for side in "mn")
    words = refusal(name_sides(f"{members},upright", nonmembers))
    assert ",upright and ,levels go for both sides alike" in words and "folder:m,upright" in words
    assert "for both sides alike" in refusal(name_sides(f"{members},levels=0:1", f"{nonmembers},levels=0:2"))
