"""Members and nonmembers of a given model as one data set: its parts, what is refused, and near-duplicates."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from leakbench.data import SplitSpec, draw_split
from leakbench.data.member_folders import name_sides
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError


def pictures(count, seed, shape=(16, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def named(tmp_path):
    """named(members, nonmembers, **more): the name of the data set of these arrays, in npz files m and n."""

    def write(members, nonmembers, **more):
        np.savez(tmp_path / "m.npz", images=members)
        np.savez(tmp_path / "n.npz", images=nonmembers)
        return name_sides(f"npz:{tmp_path / 'm.npz'}", f"npz:{tmp_path / 'n.npz'}", **more)

    return write


def test_each_side_keeps_to_its_own_parts(named):
    members, nonmembers = pictures(200, 0), pictures(300, 1)
    data = registry.dataset(named(members, nonmembers))()
    np.testing.assert_array_equal(np.asarray(data.images), np.concatenate([members, nonmembers])[data.index])
    words, counts = np.unique(data.split, return_counts=True)
    assert dict(zip(words.tolist(), counts.tolist(), strict=True)) == {
        **{"member": 160, "calibration_in": 40},
        **{"nonmember": 150, "calibration_out": 60, "reference": 90},
    }
    assert set(data.split[data.index < 200]) == {"member", "calibration_in"}
    parts = draw_split(data, SplitSpec()).parts
    assert {name: len(rows) for name, rows in parts.items()} == dict(zip(words.tolist(), counts.tolist(), strict=True))


def test_the_draw_follows_its_seed(named):
    members, nonmembers = pictures(100, 0), pictures(100, 1)
    first, again, other = (registry.dataset(named(members, nonmembers, seed=seed))() for seed in (0, 0, 1))
    assert first.split.tolist() == again.split.tolist() != other.split.tolist()


def test_small_sides_still_get_twenty_images_a_part(named):
    data = registry.dataset(named(pictures(40, 0), pictures(60, 1)))()
    assert set(np.unique(data.split, return_counts=True)[1].tolist()) == {20}


@pytest.mark.parametrize(("members", "nonmembers", "words"), [(2, 60, "3"), (3, 9, "10")])
def test_too_few_images_say_how_many_are_needed(named, members, nonmembers, words):
    with pytest.raises(UsageError, match=f"images, and at least {words} are needed"):
        registry.dataset(named(pictures(members, 0), pictures(nonmembers, 1)))()


def test_an_image_on_both_sides_is_named_with_its_hash(named):
    members, nonmembers = pictures(50, 0), pictures(60, 1)
    nonmembers[7] = members[3]
    known = hashlib.sha256(members[3].tobytes()).hexdigest()[:12]
    with pytest.raises(UsageError, match=rf"m\.npz image 3 and npz:n\.npz image 7 are the same image .*{known}"):
        registry.dataset(named(members, nonmembers))()


@pytest.mark.parametrize("which", range(5))  # of either hash the lower
def test_near_duplicates_across_the_sides_are_removed_from_the_nonmembers(named, which):
    members, nonmembers = pictures(50, 0), pictures(120, 1)
    nonmembers[5] = np.where(members[which] > 0, members[which] - 1, 0)  # one grey level less: nearly the same
    data = registry.dataset(named(members, nonmembers))()
    split = draw_split(data, SplitSpec())
    left = data.index[np.concatenate(list(split.parts.values()))]
    assert split.removed == 1
    assert set(range(170)) - set(left.tolist()) == {55}


def held(data):
    """What each row holds, without its number among the files."""
    return [np.asarray(data.images).tobytes(), data.split.tolist(), data.labels.tolist()]


def test_rows_do_not_tell_the_side(named):
    """Scores of -row are those of an attack that returns -view.ids: chance, as the rank statistic's own spread has it;
    and the very same rows when the sides are swapped."""
    members, nonmembers = pictures(600, 0, (8, 8, 1)), pictures(900, 1, (8, 8, 1))
    data = registry.dataset(named(members, nonmembers))()
    inside = data.split == "member"
    rows = np.arange(len(data.images))
    ours, theirs = rows[inside], rows[data.split == "nonmember"]
    auc = (ours[:, None] < theirs).mean()
    spread = np.sqrt((len(ours) + len(theirs) + 1) / (12 * len(ours) * len(theirs)))
    assert abs(auc - 0.5) < 2 * spread
    swapped = registry.dataset(named(nonmembers, members))()
    np.testing.assert_array_equal(np.asarray(data.images), np.asarray(swapped.images))


def test_the_order_and_the_names_of_files_change_no_row(tmp_path):
    members, nonmembers = pictures(50, 0), pictures(60, 1)
    found = []
    for turn in (slice(None), slice(None, None, -1)):
        for side, images in (("m", members[turn]), ("n", nonmembers[turn])):
            np.savez(tmp_path / f"{side}.npz", images=images, labels=images.sum(axis=(1, 2, 3), dtype=np.int64))
        found.append(registry.dataset(name_sides(f"npz:{tmp_path / 'm.npz'}", f"npz:{tmp_path / 'n.npz'}"))())
    assert held(found[0]) == held(found[1])
    assert found[0].labels.tolist() == np.asarray(found[0].images).sum(axis=(1, 2, 3), dtype=np.int64).tolist()
    first = np.where(found[1].index < 50, 49 - found[1].index, 50 + 109 - found[1].index)
    assert first.tolist() == found[0].index.tolist()


def test_sides_of_two_shapes_are_refused(named):
    with pytest.raises(UsageError, match=r"3x16x16 .* 3x8x8 .*--size"):
        registry.dataset(named(pictures(50, 0), pictures(60, 1, (8, 8, 3))))()
    with pytest.raises(UsageError, match=r"3x16x16 .* 1x16x16 .*all grey or all RGB$"):  # which --size cannot mend
        registry.dataset(named(pictures(50, 0), pictures(60, 1, (16, 16, 1))))()


def test_labels_are_kept_where_both_sides_have_them(tmp_path):
    for name, count, label in (("m", 50, 1), ("n", 60, 2)):
        np.savez(tmp_path / f"{name}.npz", images=pictures(count, label), labels=np.full(count, label))
    data = registry.dataset(name_sides(f"npz:{tmp_path / 'm.npz'}", f"npz:{tmp_path / 'n.npz'}"))()
    assert data.labels.tolist() == np.where(data.index < 50, 1, 2).tolist()


@pytest.mark.parametrize("argument", ["", "members=digits", "members=digits&nonmembers=digits&sead=1"])
def test_a_wrong_name_says_what_to_write(argument):
    with pytest.raises(UsageError, match="write sides:members=DATASET&nonmembers=DATASET"):
        registry.dataset(f"sides:{argument}")()
