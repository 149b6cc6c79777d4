"""Groups of images (people, patients, scenes): read from every source, kept whole by every draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leakbench.data import PARTS, Dataset, SplitSpec, draw_split
from leakbench.data.folder import folder
from leakbench.data.member_folders import name_sides, sides
from leakbench.data.npz import npz
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
