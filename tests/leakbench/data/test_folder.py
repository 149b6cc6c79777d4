"""Folders of image files: what is taken, what labels.csv says, and each kind of bad input in one line."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from leakbench.data import SplitSpec, draw_split
from leakbench.data.headers import peek
from leakbench.data.member_folders import name_sides
from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """folder(images by name, labels.csv): a folder of PNG files."""

    def write(images, table=None):
        place = tmp_path / "mine"
        for name, image in images.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / name)
        if table is not None:
            (place / "labels.csv").write_text(table)
        return place

    return write


def test_images_come_in_the_order_of_their_names_bit_for_bit(folder, load):
    images = {f"{name}.png": pixels(9, 7, 3) for name in ("b", "a/z", "a/y", "c")}
    place = folder(images)
    (place / "notes.txt").write_text("no image")
    (place / ".hidden.png").write_bytes(b"no image either")
    data = load(f"folder:{place}")
    np.testing.assert_array_equal(data.images, [images[n] for n in ("a/y.png", "a/z.png", "b.png", "c.png")])
    assert (data.labels, data.attribute, data.split) == (None, None, None)


def test_a_zip_holds_the_same_as_its_folder(folder, tmp_path, load):
    place = folder({f"{i}.png": pixels(8, 8) for i in range(5)})
    shutil.make_archive(str(tmp_path / "packed"), "zip", place)
    data, other = load(f"folder:{place}"), load(f"folder:{tmp_path / 'packed.zip'}")
    np.testing.assert_array_equal(data.images, other.images)
    assert data.shape == (1, 8, 8)


def test_a_size_resizes_and_crops_as_torchvision_does(folder, load):
    images = {f"{i}.png": pixels(*shape, 3) for i, shape in enumerate([(40, 33), (21, 50), (32, 32), (97, 33)])}
    place = folder(images)
    data = load(f"folder:{place}@32")
    expected = [functional.center_crop(functional.resize(Image.fromarray(i), 32), 32) for i in images.values()]
    np.testing.assert_array_equal(data.images, np.stack([np.asarray(image) for image in expected]))
    assert data.name == "folder:mine@32"


def test_palettes_and_bitmaps_are_colour_and_grey(folder, load):
    place = folder({"a.png": pixels(8, 8, 3)})
    Image.fromarray(pixels(8, 8, 3)).quantize(7).save(place / "b.png")
    assert load(f"folder:{place}").shape == (3, 8, 8)
    shutil.rmtree(place)
    place.mkdir()
    Image.fromarray(pixels(8, 8) > 99).save(place / "b.png")
    assert set(np.unique(load(f"folder:{place}").images)) == {0, 255}


def test_a_table_gives_labels_attribute_and_split(folder, load):
    names = [f"{i:03}.png" for i in range(120)]
    rows = [f"{n},{i % 2},{i % 5},{'reference' if i < 30 else 'pool'}" for i, n in enumerate(names)]
    place = folder({n: pixels(8, 8) for n in names}, "\n".join(["file,attribute,label,split", *reversed(rows)]))
    data = load(f"folder:{place}")
    np.testing.assert_array_equal(data.labels, np.arange(120) % 5)
    np.testing.assert_array_equal(data.attribute, np.arange(120) % 2)
    split = draw_split(data, SplitSpec(members=20, nonmembers=20, calibration_in=20, calibration_out=20))
    assert set(range(30)) <= set(split.parts["reference"])
    (place / "labels.csv").rename(place.parent / "labels.csv")  # beside the folder
    np.testing.assert_array_equal(load(f"folder:{place}").labels, data.labels)


GOOD = {f"{i}.png": pixels(8, 8) for i in range(3)}
TABLES = {
    "a file that is not there": ("file,label\n0.png,1\n1.png,1\n2.png,1\n9.png,1", ["1 rows", "not there", "'9.png'"]),
    "a file left out": ("file,label\n0.png,1\n2.png,1", ["1 of 3", "no row", "'1.png'"]),
    "a file twice": ("file,label\n0.png,1\n0.png,1\n1.png,1\n2.png,1", ["'0.png'", "twice"]),
    "no file column": ("name,label\n0.png,1", ["column 'file' is missing (its columns are name, label)"]),
    "no column file": ("label\n1", ["column 'file' is missing"]),
    "a word as label": ("file,label\n0.png,cat\n1.png,1\n2.png,1", ["0.png", "label = 'cat'", "whole number"]),
    "an empty label": ("file,label\n0.png,\n1.png,1\n2.png,1", ["0.png", "label = ''"]),
    "a short row": ("file,label,attribute\n0.png,1\n1.png,1,1\n2.png,1,1", ["0.png", "attribute = ''"]),
    "a long row": ("file,label\n0.png,1,2\n1.png,1\n2.png,1", ["cannot be read", "CSV"]),
    "a long row further down": ("file,label\n0.png,1\n1.png,1,2\n2.png,1", ["cannot be read", "CSV"]),
    "every row too long": ("file,label\n0.png,1,2\n1.png,1,2\n2.png,1,2", ["cannot be read", "CSV"]),
    "an open quote": ('file,label\n0.png,1\n1.png,"1\n2.png,1', ["cannot be read", "CSV"]),
    "a column twice": ("file,label,label\n0.png,1,2", ["cannot be read", "a column stands there twice"]),
    "nothing": ("", ["column 'file' is missing"]),
    "no number": ("file,label\n0.png,NA\n1.png,1\n2.png,1", ["0.png", "label = 'NA'"]),
    "a wrong part": ("file,split\n0.png,train\n1.png,pool\n2.png,pool", ["split = 'train'", "member", "pool"]),
    "no UTF-8": (b"file,label\n\xff\xfe.png,1", ["cannot be read", "UTF-8"]),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_bad_table_is_one_line_that_names_file_and_what_would_be_right(folder, case, refusal):
    table, words = TABLES[case]
    place = folder(GOOD)
    (place / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    message = refusal(f"folder:{place}")
    for word in ["labels.csv", *words]:
        assert word in message


def test_other_columns_of_a_table_are_ignored_and_listed(folder, load):
    rows = "\n".join(f"{name},{i},x,{i + 1}" for i, name in enumerate(GOOD))
    data = load(f"folder:{folder(GOOD, f'file,label,camera,labels{chr(10)}{rows}')}")
    np.testing.assert_array_equal(data.labels, range(3))
    assert data.remarks == ("mine/labels.csv: columns ignored: camera, labels (did you mean 'label'?)",)


def test_subfolders_are_labels_only_when_their_owner_says_so(folder, load, refusal):
    place = folder({f"{kind}/more/{i}.png": pixels(8, 8) for kind in ("dog", "cat") for i in range(2)})
    assert load(f"folder:{place}").labels is None
    np.testing.assert_array_equal(load(f"folder:{place},labels=folder").labels, [0, 0, 1, 1])  # cat, then dog
    assert load(f"folder:{place}@4,labels=folder").shape == (1, 4, 4)
    np.testing.assert_array_equal(peek(f"folder:{place},labels=folder").labels, [0, 0, 1, 1])
    for old, new in (("cat", "7"), ("dog", "3")):
        (place / old).rename(place / new)
    np.testing.assert_array_equal(load(f"folder:{place},labels=folder").labels, [3, 3, 7, 7])
    Image.fromarray(pixels(8, 8)).save(place / "a.png")
    assert "1 of 5 image files lie in no subfolder (a.png)" in refusal(f"folder:{place},labels=folder")


def test_subfolders_that_are_labels_are_the_same_on_both_sides(tmp_path, load):
    for side, kinds in {"m": ("cat", "dog"), "n": ("cat", "cow", "dog")}.items():
        for kind in kinds:
            (tmp_path / side / kind).mkdir(parents=True)
            for i in range(40):
                Image.fromarray(pixels(8, 8)).save(tmp_path / side / kind / f"{i}.png")
    names = [f"folder:{tmp_path / side},labels=folder" for side in "mn"]
    with pytest.raises(UsageError, match="cow: a subfolder of one side alone"):
        load(name_sides(*names))
    shutil.rmtree(tmp_path / "n" / "cow")
    assert np.bincount(load(name_sides(*names)).labels).tolist() == [80, 80]


@pytest.fixture
def broken(folder):
    """Ten images, of which three do not decode: empty, cut off, and something else."""
    place = folder({f"{i}.png": pixels(40, 40, 3) for i in range(10)})
    whole = (place / "4.png").read_bytes()
    (place / "2.png").write_bytes(b"")
    (place / "4.png").write_bytes(whole[: len(whole) // 2])
    (place / "7.png").write_bytes(b"GIF89a, or so it says")
    (place / "labels.csv").write_text("\n".join(["file,label", *(f"{i}.png,{i}" for i in range(10))]))
    return place


def test_images_that_do_not_decode_are_counted_and_named(broken, cache, refusal):
    message = refusal(f"folder:{broken}")
    assert "3 of 10 image files cannot be decoded (2.png, 4.png, 7.png)" in message
    assert "--skip-broken" in message
    assert list((cache / "packed").iterdir()) == []  # nothing half done is left


def test_and_left_out_only_when_asked_to(broken, capsys, load, refusal):
    data = load(f"folder:{broken}", skip_broken=True)
    assert "left out 3 of 10 image files that cannot be decoded (2.png, 4.png, 7.png)" in capsys.readouterr().err
    assert data.skipped == ("2.png", "4.png", "7.png")
    np.testing.assert_array_equal(data.labels, [0, 1, 3, 5, 6, 8, 9])
    np.testing.assert_array_equal(data.images[2], np.asarray(Image.open(broken / "3.png")))
    again = load(f"folder:{broken}", skip_broken=True)
    assert (again.skipped, again.digest) == (data.skipped, data.digest)
    refusal(f"folder:{broken}")  # the pack without them is not taken for the whole


def test_nothing_but_broken_images_is_an_error_even_then(folder, refusal):
    place = folder(GOOD)
    for file in place.iterdir():
        file.write_bytes(b"no image")
    said = refusal(f"folder:{place}", skip_broken=True)
    assert "3 of 3 image files cannot be decoded" in said and said.endswith(": none is left")


def test_skip_broken_reaches_a_run_and_its_plan(broken, leakbench, tmp_path, tiny):
    for i in range(10, 200):
        Image.fromarray(pixels(8, 8)).save(broken / f"{i}.png")
    for i in range(10):
        if i not in (2, 4, 7):
            (broken / f"{i}.png").unlink()
    (broken / "labels.csv").unlink()
    command = ["run", tiny, "--plan", "--set", f"dataset=folder:{broken}", "--set", "quality.features=rotation"]
    refused = leakbench(*command)
    assert refused.code == 2
    assert "2 of 193 image files cannot be decoded (2.png, 7.png)" in refused.err
    assert "4.png: 40x40, not 8x8" in refused.err  # what its header says
    assert leakbench(*command, "--skip-broken").code == 0


BAD = {
    "two sizes": ({"3.png": pixels(9, 8)}, ["3.png: 8x9, not 8x8", "--size 8", "folder:mine@8"]),
    "grey and colour": ({"3.png": pixels(8, 8, 3)}, ["1 of 4", "in colour", "(3.png)", "--convert"]),
    "transparency": ({"3.png": pixels(8, 8, 4)}, ["have transparency (3.png: RGBA)", "--convert", "8-bit grey or RGB"]),
    "grey and transparency": ({"3.png": pixels(8, 8, 2)}, ["have transparency (3.png: LA)"]),
    "sixteen bits": ({"3.png": pixels(8, 8).astype(np.uint16)}, ["of 16 bits (3.png: I;16)", "8-bit"]),
}


@pytest.mark.parametrize("case", BAD)
def test_images_of_other_sizes_and_channels_are_named(folder, case, refusal):
    images, words = BAD[case]
    message = refusal(f"folder:{folder(GOOD | images)}")
    for word in words:
        assert word in message


def test_a_palette_with_transparency_is_refused(folder, refusal):
    place = folder({"a.png": pixels(8, 8, 3)})
    Image.fromarray(pixels(8, 8, 3)).quantize(7).save(place / "b.png", transparency=3)
    assert "have transparency (b.png: P)" in refusal(f"folder:{place}")


def test_an_empty_folder_no_folder_no_zip_and_a_bad_size_are_named(tmp_path, refusal):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.zip").write_bytes(b"no zip")
    assert "holds no image files" in refusal(f"folder:{tmp_path / 'empty'}")
    assert "no such folder" in refusal(f"folder:{tmp_path / 'none'}")
    assert "is no folder and no .zip" in refusal(f"folder:{tmp_path / 'a.zip'}")
    with zipfile.ZipFile(tmp_path / "later.zip", "w") as archive:
        archive.writestr("0.png", b"whatever")
    whole = (tmp_path / "later.zip").read_bytes()
    at = whole.index(b"PK\x01\x02") + 6  # the version that is needed to unpack it
    (tmp_path / "later.zip").write_bytes(whole[:at] + b"\xcb\x00" + whole[at + 2 :])
    assert "is no folder and no .zip of images (zip file version 20.3)" in refusal(f"folder:{tmp_path / 'later.zip'}")
    assert "SIZE = 1: it should be from 2 to 4096" in refusal(f"folder:{tmp_path / 'empty'}@1")
    assert "write folder:PATH" in refusal("folder:")


def test_an_image_that_would_be_enlarged_beyond_memory_is_named(folder, refusal):
    place = folder({"long.png": pixels(1, 70_000), "plain.png": pixels(8, 8)})
    assert "long.png: 286720000x4096 pixels when its shorter side has 4096" in refusal(f"folder:{place}@4096")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_one_name_twice_is_refused(tmp_path, refusal):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for _ in range(2):
            archive.writestr("0.png", b"whatever")
    assert "0.png: a file of this name stands there twice" in refusal(f"folder:{tmp_path / 'a.zip'}")
