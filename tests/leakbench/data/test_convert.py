"""Kinds of image files: all that are refused in one message, what `convert` makes of them, and what counts as grey."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from leakbench.data.member_folders import name_sides
from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def save(place, **images):
    """Image files by name (`a_png` is a.png); PIL images or arrays."""
    place.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(place / name.replace("_", "."))
    return place


def test_all_offending_files_of_a_folder_are_named_in_one_message_with_what_to_type(tmp_path, load):
    kinds = {"a_png": pixels(8, 8, 4), "b_png": pixels(8, 8).astype(np.uint16) * 200, "d_png": pixels(9, 12, 3)}
    place = save(tmp_path / "mine", c_tif=Image.new("CMYK", (8, 8)), **kinds)
    save(place, **{f"{i}_png": pixels(8, 8, 3) for i in range(20)})
    (place / "e.png").write_bytes(b"no image")
    with pytest.raises(UsageError) as caught:
        load(f"folder:{place}")
    message = str(caught.value)
    assert message == (
        f"{place}: 1 of 25 image files have transparency (a.png: RGBA); 1 of 25 image files are of 16 bits (b.png: "
        "I;16); 1 of 25 image files are CMYK or the like (c.tif: CMYK): --convert makes all of them 8-bit grey or RGB "
        "(in a suite: folder:mine,convert); 1 of 25 image files are of another size (d.png: 12x9, not 8x8): --size 8 "
        "resizes and crops all of them (in a suite: folder:mine@8); 1 of 25 image files cannot be decoded (e.png): "
        "mend them, or leave them out with --skip-broken"
    )


def test_of_many_files_ten_are_named_and_the_others_counted(tmp_path, load):
    place = save(tmp_path, **{f"{i:02}_png": pixels(8, 8, 4) for i in range(13)})
    with pytest.raises(UsageError, match=r"13 of 13 .*08\.png: RGBA, 09\.png: RGBA, and 3 more\)") as caught:
        load(f"folder:{place}")
    assert "10.png" not in str(caught.value)


def test_convert_follows_the_stated_rule(tmp_path, load):
    """Checked against the arithmetic of the rule, done here by hand."""
    rgba, deep, press = pixels(8, 8, 4), RANDOM.integers(0, 65536, (8, 8)).astype(np.uint16), pixels(8, 8, 4)
    deep[0, :2] = 0, 65535
    hole = Image.fromarray(pixels(8, 8, 3)).quantize(7)
    save(tmp_path, a_png=rgba, b_png=deep, c_tif=Image.fromarray(press, "CMYK"), e_png=pixels(8, 8, 3))
    hole.save(tmp_path / "d.png", transparency=3)
    data = load(f"folder:{tmp_path},convert")
    assert data.shape == (3, 8, 8) and data.name == f"folder:{tmp_path.name},convert"
    alpha = rgba[..., 3:] / 255
    assert np.abs(data.images[0] - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1
    np.testing.assert_array_equal(data.images[1], np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, -1))
    assert data.images[1][0, 0, 0] == 0 and data.images[1][0, 1, 0] == 255
    ink = press.astype(float)
    assert np.abs(data.images[2] - (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255).max() <= 1
    seen = np.asarray(hole.convert("RGB")).copy()
    seen[np.asarray(hole) == 3] = 255
    np.testing.assert_array_equal(data.images[3], seen)
    words = "; ".join(data.remarks)
    assert "2 have transparency: converted" in words and "1 of 5 grey: repeated as RGB" in words


def test_sixteen_bits_alone_become_grey(tmp_path, load):
    save(tmp_path, a_png=(pixels(8, 8).astype(np.uint16) * 257))
    assert load(f"folder:{tmp_path},convert").shape == (1, 8, 8)


@pytest.mark.parametrize("kind", ["png", "webp", "jpg", "gif"])
def test_pictures_that_are_grey_everywhere_count_as_grey_whatever_their_files(tmp_path, kind, load):
    levels = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    image = Image.fromarray(levels).convert("RGB")
    (image.quantize(256) if kind == "gif" else image).save(tmp_path / f"a.{kind}")
    save(tmp_path, b_png=levels)  # a grey file beside them
    data = load(f"folder:{tmp_path}")
    assert data.shape == (1, 64, 64)
    tolerance = {"png": 0, "gif": 0, "webp": 6, "jpg": 6}[kind]
    assert np.abs(data.images[0].astype(int) - levels[..., None]).max() <= tolerance
    assert data.remarks == (f"folder:{tmp_path.name}: grey everywhere in files of colour: taken as grey",)
    assert load(f"folder:{tmp_path},channels=3").shape == (3, 64, 64)


def test_one_picture_in_colour_keeps_all_of_them_rgb_bit_for_bit(tmp_path, load):
    grey, colour = np.repeat(pixels(40, 40, 1), 3, axis=-1), np.zeros((40, 40, 3), np.uint8)
    colour[39, 39, 0] = 9  # one pixel, in a row that a quick look leaves out
    save(tmp_path, a_png=grey, b_png=colour)
    np.testing.assert_array_equal(load(f"folder:{tmp_path}").images, [grey, colour])


@pytest.fixture
def two(tmp_path):
    """Members in grey files; nonmembers, as grey, in RGB files."""
    members = save(tmp_path / "members", **{f"{i:02}_png": pixels(8, 8) for i in range(60)})
    nonmembers = {f"{i:02}_png": np.repeat(pixels(8, 8, 1), 3, axis=-1) for i in range(80)}
    return members, save(tmp_path / "nonmembers", **nonmembers)


def test_both_sides_are_grey_or_neither_is(two, load):
    members, nonmembers = (f"folder:{side}" for side in two)
    data = load(name_sides(members, nonmembers))
    assert data.shape == (1, 8, 8)
    assert data.remarks == ("folder:nonmembers: grey everywhere in files of colour: taken as grey",)
    save(two[1], z_png=pixels(8, 8, 3))
    with pytest.raises(UsageError, match=r"are 1x8x8 and nonmembers .* 3x8x8 .*--convert"):
        load(name_sides(members, nonmembers))
    data = load(name_sides(f"{members},convert", f"{nonmembers},convert"))
    assert data.shape == (3, 8, 8)
    assert data.remarks == ("folder:members,convert: 60 of 60 grey: repeated as RGB",)


def test_a_folder_in_colour_becomes_grey_only_where_it_is_converted(tmp_path, load):
    image = pixels(8, 8, 3)
    save(tmp_path, a_png=image)
    kept = load(f"folder:{tmp_path},channels=1")
    assert kept.shape == (3, 8, 8) and "are in colour, such as a.png" in kept.remarks[0]
    data = load(f"folder:{tmp_path},convert,channels=1")
    np.testing.assert_array_equal(data.images[0, ..., 0], np.asarray(Image.fromarray(image).convert("L")))
