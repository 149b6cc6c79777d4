"""Files of captions: which are read as what, and which caption an image's label stands for on both sides."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from PIL import Image

from leakbench.data.caption_file import Captions, read
from leakbench.data.caption_labels import arrange_captions, collect_sidecars, number_captions
from leakbench.data.member_folders import list_image_files, name_sides
from leakbench.models.pretrained.text_conditioning import read_captions
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError

TABLE = b"file,caption\n1.png,a cat\n2.png,a dog\n"
ODD = "a\u2028b", "c\u0085d", "e\x0cf", "g\x1ch"  # separators to str.splitlines, and parts of a caption


@pytest.mark.parametrize("name", ["c.csv", "C.CSV", "c.txt", "c.TXT", "captions", "c.tsv"])
def test_a_table_of_file_and_caption_is_one_whatever_it_is_called(tmp_path, name):
    (tmp_path / name).write_bytes(TABLE)
    assert read(tmp_path / name) == Captions(("a cat", "a dog"), ("1.png", "2.png"))
    assert read_captions(str(tmp_path / name)) == ("a cat", "a dog")


@pytest.mark.parametrize("name", ["c.csv", "c.txt"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_ends_at_a_newline_alone_and_a_mark_is_no_text(tmp_path, name, mark, end):
    lines = [*ODD, "plain"]
    table = ["file,caption", *(f"{number}.png,{line}" for number, line in enumerate(lines))]
    text = "".join(line + end for line in (table if name == "c.csv" else lines))
    (tmp_path / name).write_bytes(mark + text.encode())
    assert read(tmp_path / name).texts == tuple(lines)
    assert read_captions(str(tmp_path / name)) == tuple(lines)


def test_a_quoted_caption_keeps_its_line_ends_and_commas(tmp_path):
    (tmp_path / "c.csv").write_bytes(b'file,caption\r\n1.png,"a,\r\nb\nc"\r\n')
    assert read(tmp_path / "c.csv").texts == ("a,\r\nb\nc",)


def test_lines_may_be_empty_and_the_last_may_want_its_newline(tmp_path):
    (tmp_path / "c.txt").write_bytes(b"a, b\n\nc")
    assert read(tmp_path / "c.txt").texts == ("a, b", "", "c")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.md", b"a cat\n", "neither a .txt of one caption a line nor a .csv"),
        ("c.txt", b"caption\na cat\n", "name it .csv"),
        ("c.csv", b"file;caption\n1.png;a\n", "no column `caption`; its columns are file;caption"),
        ("c.csv", b"file,caption\n1.png,a cat, red\n", "row 1 has 3 cells, and there are 2 columns"),
        ("c.csv", b'file,caption\n1.png,"a\n', "should be a CSV file"),
        ("c.csv", b"file,caption\n", "empty"),
        ("c.txt", "é".encode("latin-1"), "should be text in UTF-8"),
    ],
)
def test_what_could_be_read_two_ways_or_not_at_all_is_refused(tmp_path, name, text, words):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UsageError) as caught:
        read(tmp_path / name)
    assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def folders(tmp_path, first, second, names=("1.png", "2.png"), others=("1.png", "2.png")):
    return [(tmp_path / first, list(names)), (tmp_path / second, list(others))]


def written(tmp_path, *rows):
    """A table of captions whose text is its image's, sorted."""
    lines = ["file,caption", *(f"{file},{caption}" for file, caption in sorted(rows, key=lambda row: row[1]))]
    (tmp_path / "c.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "c.csv"


def test_folders_of_one_name_are_told_apart_by_those_above(tmp_path):
    both = folders(tmp_path, "train/images", "test/images")
    files = [f"{side}/images/{n}.png" for side in ("train", "test") for n in (1, 2)]
    path = written(tmp_path, *((file, f"caption {at}") for at, file in enumerate(files)))
    assert [found.tolist() for found in number_captions(path, both)] == [[0, 1], [2, 3]]
    with pytest.raises(UsageError, match=r"both folders hold 1\.png: write train/images/1\.png"):
        number_captions(written(tmp_path, ("images/1.png", "a"), ("images/2.png", "b")), both)


def test_a_row_that_could_be_two_images_is_refused_with_names_that_are_not(tmp_path):
    both = folders(tmp_path, "a", "b", ["1.png"], ["a/1.png"])
    with pytest.raises(UsageError, match=r"'a/1\.png' could be .*: write a/1\.png and b/a/1\.png"):
        number_captions(written(tmp_path, ("a/1.png", "x")), both)
    found = number_captions(written(tmp_path, ("a/1.png", "x"), ("b/a/1.png", "y")), both)
    assert [numbers.tolist() for numbers in found] == [[0], [1]]


@pytest.mark.parametrize("text", [b"\xff\xfe", "é".encode("latin-1")])
def test_a_caption_beside_an_image_that_is_no_utf8_is_named(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_bytes(text)
    with pytest.raises(UsageError, match=r"1\.txt: cannot be read .*UTF-8") as caught:
        collect_sidecars(folders(tmp_path, "a", "b", ["1.png"], ["2.png"]))
    assert "\n" not in str(caught.value)


def test_numbers_that_could_tell_the_side_are_refused_and_arranged(tmp_path):
    both = folders(tmp_path, "a", "b")
    table = tmp_path / "mine.csv"
    table.write_text("file,caption\na/1.png,z\na/2.png,m\nb/1.png,m\nb/2.png,c\nelsewhere.png,b\n")
    with pytest.raises(UsageError, match="sort them by caption"):
        number_captions(table, both)
    path = arrange_captions(table, both)
    assert read(path).texts == ("c", "m", "m", "z")  # what the model's labels are numbers of
    assert [found.tolist() for found in number_captions(path, both)] == [[3, 1], [1, 0]]  # equal captions: one number
    swapped = arrange_captions(table, both[::-1])
    assert [found.tolist() for found in number_captions(swapped, both)] == [[3, 1], [1, 0]]


def test_the_label_of_an_image_is_its_own_caption_to_the_model(tmp_path):
    """From .txt files with separators in them, beside images in two folders of one name."""
    names = []
    for side, seed in (("train", 0), ("test", 1)):
        (tmp_path / side / "images").mkdir(parents=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (60, 16, 16), dtype=np.uint8)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / side / "images" / f"{number:02}.png")
            text = f"\ufeff{ODD[number % 4]} {image.sum()}\n"
            (tmp_path / side / "images" / f"{number:02}.txt").write_text(text, encoding="utf-8")
        names.append(f"folder:{tmp_path / side / 'images'}")
    path = collect_sidecars([list_image_files(name, ()) for name in names])
    data = registry.dataset(name_sides(*names, captions=str(path)))()
    captions = read_captions(str(path))
    assert [int(captions[label].split()[-1]) for label in data.labels] == data.images.sum(axis=(1, 2, 3)).tolist()
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="\n")))
    assert len(rows) == 121 and {row[0].partition("/")[0] for row in rows[1:]} == {"train", "test"}
