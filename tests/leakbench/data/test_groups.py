"""Groups of images (people, patients, scenes): read from every source, kept whole by every draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leakbench.data import PARTS, Dataset, SplitSpec, draw_split
from leakbench.data.caption_labels import arrange_captions
from leakbench.data.folder import folder
from leakbench.data.folder_name import FolderName
from leakbench.data.group_names import name_groups, number_names
from leakbench.data.member_folders import name_sides, sides
from leakbench.data.npz import npz
from leakbench.data.outline import outline_sides
from leakbench.runtime.errors import UsageError

SPEC = SplitSpec(members=40, nonmembers=40, calibration_in=20, calibration_out=20)


def noise(count, seed=0, shape=(8, 8, 1)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def parts_by_group(split):
    """The parts that hold images of each group."""
    found: dict[int, set[str]] = {}
    for part, rows in split.parts.items():
        for number in split.group[rows]:
            found.setdefault(int(number), set()).add(part)
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_no_group_is_in_two_parts_and_parts_have_their_numbers(most, seed):
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(300), rng.integers(1, most + 1, 300))[:300])
    split = draw_split(Dataset("mine", noise(300), group=group), SPEC)
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())
    assert [len(split.parts[part]) for part in PARTS[:4]] == [40, 20, 20, 40]
    rows = np.concatenate(list(split.parts.values()))
    assert len(np.unique(rows)) == len(rows) > 300 - 4 * most  # of each part drawn, less than one group is left out


def test_one_image_a_group_is_the_draw_without_groups(two_folders):
    """So an audit has the numbers that it has without, to the last digit: statistics do the rest."""
    data = Dataset("mine", noise(300))
    alone, plain = (draw_split(one, SPEC).parts for one in (replace(data, group=np.arange(300)[::-1]), data))
    assert all(np.array_equal(alone[part], plain[part]) for part in PARTS)
    folders = [f"folder:{two_folders / side}" for side in ("members", "nonmembers")]
    names = [name_sides(*(one + more for one in folders)) for more in (r",group-by=(\d+)/(\d+)\.png", "")]
    alone, plain = (sides(name.partition(":")[2]) for name in names)
    assert len(np.unique(alone.group)) == len(alone.images) and plain.group is None
    assert np.array_equal(alone.split, plain.split) and np.array_equal(alone.index, plain.index)


def test_groups_are_drawn_alike_whatever_their_size():
    group = np.concatenate([np.repeat(np.arange(20), 10), np.arange(20, 120)])
    data, drawn = Dataset("mine", noise(300), group=group), np.zeros(120)
    for seed in range(400):
        spec = SplitSpec(members=60, nonmembers=20, calibration_in=20, calibration_out=20, seed=seed)
        drawn[np.unique(group[draw_split(data, spec).parts["member"]])] += 1
    large, small = drawn[:20].mean() / 400, drawn[20:].mean() / 400
    assert large == pytest.approx(small, abs=4 * 0.5 / np.sqrt(400 * 20) + 0.01)  # the group that is cut counts as well


def test_without_groups_the_draw_and_the_digest_are_as_ever():
    data = Dataset("mine", noise(300))
    split = draw_split(data, SPEC)
    order = np.random.default_rng([0, 0x5EED]).permutation(300)
    np.testing.assert_array_equal(split.parts["member"], np.sort(order[:40]))
    assert split.group is None
    assert (
        data.digest == "750289a348e400ef4c96342101024c9bd99423a4e868a95f5fb0c6cbec805c1d"
    )  # as before there were groups
    assert Dataset("mine", noise(300), group=np.arange(300)).digest != data.digest


def test_the_words_of_a_data_set_stand_and_its_pool_keeps_away_from_their_groups():
    group, words = np.arange(300) // 3, np.full(300, "pool", dtype="U15")
    words[:59] = "member"  # the last group of these has one more image, in the pool
    split = draw_split(Dataset("mine", noise(300), split=words, group=group), SPEC)
    np.testing.assert_array_equal(split.parts["member"], np.arange(59))
    assert 59 not in np.concatenate(list(split.parts.values()))
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())


def test_near_duplicates_of_one_group_stay_where_they_are_on_one_side(tmp_path):
    """Fault 21: they were left out, though a draw keeps them in one part and statistics count groups."""
    images, group, row = noise(300), np.arange(300) // 3, np.arange(300)
    images[1::3] = images[::3]  # the first two of each group are copies
    assert draw_split(Dataset("mine", images), SPEC).removed == 100
    split = draw_split(Dataset("mine", images, group=group), SPEC)
    assert split.removed == 0
    assert all(len(parts) == 1 for parts in parts_by_group(split).values())
    images[299] = images[0]
    assert draw_split(Dataset("mine", images, group=group), SPEC).removed == 1
    words = np.where(row < 150, "pool", np.tile(["member", "nonmember", "reference"], 100))
    assert draw_split(Dataset("mine", images, group=group, split=words), SPEC).removed == 1 + 50
    for left, removed in ((row % 2 == 0, 1 + 100), (group % 2 == 0, 1)):
        np.savez(tmp_path / "lists.npz", mia_train_idxs=row[left], mia_eval_idxs=row[~left])
        spec = SPEC.model_copy(update={"file": str(tmp_path / "lists.npz")})
        assert draw_split(Dataset("mine", images, group=group), spec).removed == removed


def test_an_npz_and_a_table_hold_groups(tmp_path):
    np.savez(tmp_path / "mine.npz", images=noise(30), group=np.arange(30) // 4)
    np.testing.assert_array_equal(npz(str(tmp_path / "mine.npz")).group, np.arange(30) // 4)
    np.savez(tmp_path / "bad.npz", images=noise(30), group=np.full(30, 0.5))
    with pytest.raises(UsageError, match=r"bad\.npz: group: must be whole numbers from 0 up"):
        npz(str(tmp_path / "bad.npz"))
    write_folder(tmp_path / "faces", noise(30), np.arange(30)[::-1])
    np.testing.assert_array_equal(folder(str(tmp_path / "faces")).group, np.arange(30)[::-1])


def write_folder(path, images, group):
    path.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(path / f"{number:03}.png")
    rows = [f"{number:03}.png,{one}" for number, one in enumerate(group)]
    (path / "labels.csv").write_text("\n".join(["file,group", *rows, ""]))


def test_members_and_nonmembers_of_a_given_model_keep_groups_whole_in_their_parts(tmp_path):
    write_folder(tmp_path / "members", noise(100), np.arange(100) // 7)
    write_folder(tmp_path / "nonmembers", noise(150, seed=1), 50 + np.arange(150) // 7)
    names = [f"folder:{tmp_path / side}" for side in ("members", "nonmembers")]
    data = sides(name_sides(*names).partition(":")[2])
    groups = np.concatenate([np.arange(100) // 7, 50 + np.arange(150) // 7])
    np.testing.assert_array_equal(data.group, groups[data.index])
    assert all(len(np.unique(data.split[data.group == number])) == 1 for number in np.unique(groups))
    counts = dict(zip(*np.unique(data.split, return_counts=True), strict=True))
    assert 20 <= counts["calibration_in"] < 27 and 30 <= counts["calibration_out"] < 37 and set(counts) == set(PARTS)
    (tmp_path / "members" / "labels.csv").write_text(
        "\n".join(["file,group", *(f"{number:03}.png,{number // 90}" for number in range(100)), ""])
    )
    with pytest.raises(UsageError, match=r"--members .*groups are kept whole, which leaves \d+ images for member"):
        sides(name_sides(*names).partition(":")[2])


# Ways to say whose an image is ----------------------------------------------------------------------------------------


def write_files(path, names, seed=0):
    for name, image in zip(names, noise(len(names), seed), strict=True):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(file)


def test_names_of_people_become_numbers_in_their_order_and_numbers_stay():
    plain = number_names(["7", "007", "12"])
    assert plain.numbers.tolist() == [7, 7, 12] and plain.names is None
    found = number_names(["Zoe", "7", "Ann", "007", "Zoe"])
    assert found.numbers.tolist() == [2, 0, 1, 0, 2] and found.names == ("7", "Ann", "Zoe")


@pytest.mark.parametrize(
    ("option", "expected"),
    {
        "folder": [["ann", "bob", "bob"], ("ann", "bob")],
        r"(\d+)_\d+\.png": [["13", "7", "13"], None],
        r"^(\w+)/.*_\d\d(\d)": [["ann/0", "bob/0", "bob/1"], ("ann/0", "bob/0", "bob/1")],
        r"00000\d+": [["13", "7", "13"], None],
        "_(1|0,0)?0[0-9]": None,
    }.items(),
)
def test_files_names_say_whose_an_image_is(tmp_path, option, expected):
    """Those of NIH's chest X-rays are PATIENT_NUMBER.png."""
    write_files(tmp_path / "x", ["ann/00000013_000.png", "bob/00000013_001.png", "bob/00000007_000.png"])
    name = f"{tmp_path}/x@4,convert,channels=3,group-by={option}"
    given = FolderName.parse(name)
    assert str(given) == f"folder:{name}" and FolderName.parse(str(given).partition(":")[2]) == given
    if expected is None:
        with pytest.raises(
            UsageError, match=r"3 of 3 image files have nothing that it finds .*every image needs a group"
        ):
            folder(name)
        return
    data, plain = folder(name), folder(f"{tmp_path}/x@4,convert,channels=3")
    assert name_groups(data.group, data.group_names) == expected[0] and data.group_names == expected[1]
    assert data.name == plain.name  # which seeds the noise of attacks


@pytest.mark.parametrize("pattern", ["(", "(?P<a", "[", "a" * 2000, "*"])
def test_a_pattern_that_is_none_is_refused_in_a_line(tmp_path, pattern):
    write_files(tmp_path / "x", ["a.png"])
    with pytest.raises(UsageError, match=r"regular expression|1000 at most") as refused:
        FolderName.parse(f"{tmp_path}/x,group-by={pattern}")
    assert "\n" not in str(refused.value)


def test_a_folder_for_each_person_needs_each_image_in_one(tmp_path):
    write_files(tmp_path / "x", ["a/b.png", "c.png"])
    with pytest.raises(UsageError, match=r"1 of 2 image files lie in no subfolder \(c.png\)"):
        folder(f"{tmp_path}/x,group-by=folder")


def test_labels_csv_and_arrays_take_names(tmp_path):
    write_files(tmp_path / "x", ["a.png", "b.png", "c.png"])
    (tmp_path / "x" / "labels.csv").write_text("file,group\nb.png,Ann\nc.png,Zoe\na.png,Zoe\n")
    data = folder(str(tmp_path / "x"))
    assert data.group.tolist() == [1, 0, 1] and data.group_names == ("Ann", "Zoe")
    with pytest.raises(UsageError, match=r"labels\.csv: says whose each image is: leave out --group-by"):
        folder(f"{tmp_path}/x,group-by=folder")
    (tmp_path / "x" / "labels.csv").write_text("file,group\nb.png,Ann\nc.png, \na.png,Zoe\n")
    with pytest.raises(UsageError, match=r"c\.png: group is empty"):
        folder(str(tmp_path / "x"))
    for kind in ("U", "S"):
        np.savez(tmp_path / "x.npz", images=noise(3), group=np.array(["Zoe", "Ann", "Zoe"], dtype=kind + "3"))
        data = npz(str(tmp_path / "x.npz"))
        assert data.group.tolist() == [1, 0, 1] and data.group_names == ("Ann", "Zoe")
    np.savez(tmp_path / "x.npz", images=noise(3), group=np.array(["Zoe", "", "Zoe"]))
    with pytest.raises(UsageError, match="group: is empty at 1"):
        npz(str(tmp_path / "x.npz"))


def test_a_table_of_groups_serves_a_folder(tmp_path):
    write_files(tmp_path / "x", ["a.png", "b.png"])
    (tmp_path / "who, where.csv").write_text("group,file\nAnn,x/a.png\nZoe,b.png\nBob,elsewhere.png\n")
    data = folder(f"{tmp_path}/x,groups={tmp_path}/who, where.csv")
    assert name_groups(data.group, data.group_names) == ["Ann", "Zoe"]
    for text, words in {
        "file,who\n": "column 'group' is missing",
        "file,group\na.png,Ann\n": "group missing for .*b.png",
        "file,group\na.png,Ann\na.png,Bob\nb.png,Bob\n": "'a.png' stands there twice",
    }.items():
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(UsageError, match=words):
            folder(f"{tmp_path}/x,groups={tmp_path}/bad.csv")


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory):
    """Members and nonmembers; every image is of one of 50 people a side, of whom ten are on both."""
    home = tmp_path_factory.mktemp("people")
    for side, first in (("members", 0), ("nonmembers", 40)):
        write_files(home / side, [f"p{first + i // 3:03}/{i}.png" for i in range(150)], seed=first)
    return home


def test_a_person_has_one_number_on_both_sides(two_folders, tmp_path):
    """By folders, by a pattern, by a table of groups and by one of captions."""
    plain = [f"folder:{two_folders / side}" for side in ("members", "nonmembers")]
    files = [file for side in ("members", "nonmembers") for file in sorted((two_folders / side).rglob("*.png"))]
    rows = [(f.relative_to(two_folders).as_posix(), f.parent.name) for f in files]
    (tmp_path / "who.csv").write_text("file,group\n" + "".join(f"{file},{who}\n" for file, who in rows))
    (tmp_path / "told.csv").write_text("file,caption,group\n" + "".join(f"{a},a face,{b}\n" for a, b in rows))
    folders = [
        (two_folders / side, [r[0].partition("/")[2] for r in rows if r[0].startswith(side)])
        for side in ("members", "nonmembers")
    ]
    captions = str(arrange_captions(tmp_path / "told.csv", folders))
    expected = np.repeat(np.concatenate([np.arange(50), np.arange(40, 90)]), 3)
    for name in (
        name_sides(*(f"{one},group-by=folder" for one in plain)),
        name_sides(*(rf"{one},group-by=p(\d+)" for one in plain)),
        name_sides(*plain, groups=str(tmp_path / "who.csv")),
        name_sides(*plain, captions=captions),
    ):
        data = sides(name.partition(":")[2])
        np.testing.assert_array_equal(data.group, expected[data.index])
        split = draw_split(data, SPEC)
        assert sum(len(parts & {"member", "calibration_in"}) > 0 for parts in parts_by_group(split).values()) == 50
    outlined = outline_sides(
        dict(zip(("members", "nonmembers"), plain, strict=True)), 1, "", 0, str(tmp_path / "who.csv")
    )
    np.testing.assert_array_equal(outlined.group, expected)


def test_groups_that_are_said_twice_or_of_one_side_are_refused(two_folders, tmp_path):
    (tmp_path / "who.csv").write_text("file,group\n")
    members, nonmembers = (f"folder:{two_folders / side}" for side in ("members", "nonmembers"))
    with pytest.raises(UsageError, match="folder:members says whose each image is, and folder:nonmembers does not"):
        sides(name_sides(f"{members},group-by=folder", nonmembers).partition(":")[2])
    np.savez(tmp_path / "x.npz", images=noise(150, 5))
    with pytest.raises(UsageError, match=r"x\.npz is no folder: it goes by the names of files"):
        sides(name_sides(members, f"npz:{tmp_path}/x.npz", groups=str(tmp_path / "who.csv")).partition(":")[2])
    rows = [f"{f.relative_to(two_folders).as_posix()},1\n" for f in two_folders.rglob("*.png")]
    (tmp_path / "who.csv").write_text("file,group\n" + "".join(rows))
    both = name_sides(f"{members},group-by=folder", f"{nonmembers},group-by=folder", groups=str(tmp_path / "who.csv"))
    with pytest.raises(UsageError, match="all say whose each image is: leave out all but one"):
        sides(both.partition(":")[2])
