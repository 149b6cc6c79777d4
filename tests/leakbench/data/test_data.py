"""Data sets and splits: real digits, near-duplicates out first, parts drawn at random, bad files refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits

from leakbench.data import PARTS, SplitSpec, draw_split
from leakbench.data.digits import digits
from leakbench.data.near_duplicates import near_duplicate_groups
from leakbench.data.npz import npz
from leakbench.runtime.errors import UsageError

SMALL = SplitSpec(members=30, nonmembers=30, calibration_in=10, calibration_out=10)


def noise_images(count, seed=0, shape=(8, 8)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture
def saved(tmp_path):
    """saved(**arrays): an npz file of 150 random images with these arrays added or replaced."""

    def save(**arrays):
        path = tmp_path / "mine.npz"
        np.savez(path, **{"images": noise_images(150)} | arrays)
        return str(path)

    return save


def test_digits_are_scikit_learns_bit_for_bit():
    theirs, ours = load_digits(), digits("")
    assert ours.images.shape == (1797, 8, 8, 1)
    assert ours.images.dtype == np.uint8
    np.testing.assert_array_equal(np.rint(ours.images[..., 0] * (16 / 255)), theirs.images)
    np.testing.assert_array_equal(ours.labels, theirs.target)
    assert len(np.unique(ours.images)) == 17  # sixteen grey levels and black: no two were merged


def test_tensors_span_minus_one_to_one():
    images = digits("").tensors(np.arange(50))
    assert images.shape == (50, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)


def test_parts_are_disjoint_and_cover_all_that_is_left():
    data = digits("")
    split = draw_split(data, SplitSpec())
    rows = np.concatenate([split.parts[part] for part in PARTS])
    assert len(np.unique(rows)) == len(rows) == 1797 - split.removed
    assert [len(split.parts[part]) for part in PARTS[:4]] == [300, 60, 60, 300]


def test_a_split_follows_from_its_seed():
    data = digits("")
    first, same, other = (draw_split(data, SplitSpec(seed=seed)) for seed in (3, 3, 4))
    assert first.digest == same.digest != other.digest
    assert set(first.parts["member"]) != set(other.parts["member"])


def test_members_are_spread_over_the_whole_data_set():
    split = draw_split(digits(""), SplitSpec())
    # A random draw of 300 from 1797 has its mean row within four standard errors of the middle.
    for part in ("member", "nonmember"):
        assert abs(split.parts[part].mean() - 898) < 4 * 519 / np.sqrt(300)


def test_planted_near_duplicates_are_removed_and_counted(saved):
    images = noise_images(150)
    images[140] = images[3]  # an exact copy
    images[141] = np.clip(
        images[4].astype(int) + np.random.default_rng(1).integers(-3, 4, (8, 8)), 0, 255
    )  # tiny noise
    split = draw_split(npz(saved(images=images)), SMALL)
    kept = np.concatenate(list(split.parts.values()))
    assert split.removed == 2
    assert not {140, 141} & set(kept)
    assert {3, 4} <= set(kept)


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_near_duplicates_are_those_within_a_share_of_the_median_distance(share):
    data = digits("")
    pixels = data.tensors(np.arange(1797)).flatten(1).double().numpy()
    split = draw_split(data, SplitSpec(duplicate_radius=share))
    radius = split.duplicates.radius
    assert radius == pytest.approx(share * np.median(pdist(pixels)) / 8, rel=0.01)
    kept: list[int] = []
    for i, row in enumerate(pixels):
        if not kept or np.sqrt(((pixels[kept] - row) ** 2).mean(axis=1)).min() > radius:
            kept.append(i)
    assert split.removed == 1797 - len(kept)
    assert sorted(np.concatenate(list(split.parts.values()))) == kept


def test_the_attribute_is_ink_above_the_reference_parts_median():
    split = draw_split(digits(""), SplitSpec())
    ink = load_digits().images.sum(axis=(1, 2))
    middle = sorted(ink[split.parts["reference"]])
    median = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
    np.testing.assert_array_equal(split.attribute, [int(value > median) for value in ink])


def test_an_npz_keeps_its_labels_and_its_attribute(saved):
    labels, attribute = np.arange(150) % 7, np.arange(150) % 2
    data = npz(saved(labels=labels.astype(np.float32), attribute=attribute[:, None]))
    np.testing.assert_array_equal(data.labels, labels)
    np.testing.assert_array_equal(draw_split(data, SMALL).attribute, attribute)


def test_colour_and_grey_images_are_taken(saved):
    assert npz(saved(images=noise_images(150, shape=(6, 5, 3)))).shape == (3, 6, 5)
    assert npz(saved()).shape == (1, 8, 8)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_an_npz_may_say_where_its_images_belong(saved, kind):
    words = np.array(["pool"] * 90 + ["member"] * 25 + ["reference"] * 35).astype(kind)
    split = draw_split(npz(saved(split=words)), SMALL)
    np.testing.assert_array_equal(split.parts["member"], np.arange(90, 115))
    assert set(range(115, 150)) <= set(split.parts["reference"])
    assert len(split.parts["nonmember"]) == 30
    assert max(split.parts["nonmember"]) < 90


def test_images_that_are_the_same_or_mirrored_share_a_group():
    images = torch.rand(6, 1, 8, 8) * 2 - 1
    images[2] = images[0]
    images[4] = images[1].flip(-1)
    images[5] = images[4] + 0.01
    assert near_duplicate_groups(images).tolist() == [0, 1, 0, 3, 1, 1]


BAD = {
    "float images": ({"images": np.zeros((150, 8, 8))}, ["images", "float64", "uint8"]),
    "NaN": ({"images": np.full((150, 8, 8), np.nan, dtype=np.float32)}, ["images", "float32", "NaN", "uint8"]),
    "signed images": ({"images": np.zeros((150, 8, 8), dtype=np.int64)}, ["images", "int64", "uint8"]),
    "flat images": ({"images": np.zeros((150, 64), dtype=np.uint8)}, ["images", "(150, 64)", "(N, H, W)"]),
    "two channels": ({"images": np.zeros((150, 8, 8, 2), dtype=np.uint8)}, ["images", "(150, 8, 8, 2)"]),
    "no images": ({"images": np.zeros((0, 8, 8), dtype=np.uint8)}, ["images", "(0, 8, 8)"]),
    "a single number": ({"images": np.uint8(3)}, ["images", "()"]),
    "too few labels": ({"labels": np.arange(149)}, ["labels", "(149,)", "(150,)"]),
    "half labels": ({"labels": np.full(150, 0.5)}, ["labels", "float64", "whole numbers"]),
    "NaN labels": ({"labels": np.full(150, np.nan)}, ["labels", "whole numbers"]),
    "negative labels": ({"labels": np.full(150, -1)}, ["labels", "from 0 up"]),
    "labels in words": ({"labels": np.array(["cat"] * 150)}, ["labels", "whole numbers", "<U3"]),
    "attribute in a table": ({"attribute": np.zeros((150, 2), dtype=int)}, ["attribute", "(150, 2)", "(150,)"]),
    "unknown word": ({"split": np.array(["pool"] * 149 + ["membre"])}, ["split", "'membre'", "member", "reference"]),
    "word in bytes": ({"split": np.array([b"pool"] * 149 + [b"\xff"])}, ["split", "unknown word"]),
    "split in numbers": ({"split": np.arange(150)}, ["split", "int64", "pool"]),
    "too few words": ({"split": np.array(["pool"] * 3)}, ["split", "(3,)", "(150,)"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_npz_is_one_line_that_names_file_key_and_what_would_be_right(saved, case):
    arrays, words = BAD[case]
    with pytest.raises(UsageError) as caught:
        npz(saved(**arrays))
    message = str(caught.value)
    assert "\n" not in message
    for word in ["mine.npz", *words]:
        assert word in message


class Trap:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("key", ["images", "labels", "attribute", "split"])
def test_pickled_objects_are_refused_and_never_unpickled(tmp_path, saved, key):
    trap = np.empty(150, dtype=object)
    trap[:] = [Trap(tmp_path / "sprung")] * 150
    with pytest.raises(UsageError, match=rf"mine\.npz: {key}: holds pickled objects, which are refused"):
        npz(saved(**{key: trap}))
    assert not (tmp_path / "sprung").exists()


def test_a_bare_pickle_under_the_name_of_an_npz_is_never_unpickled(tmp_path):
    path = tmp_path / "mine.npz"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(UsageError, match=r"mine\.npz: is not an \.npz file; write one with"):
        npz(str(path))
    assert not (tmp_path / "sprung").exists()
    pickle.loads(path.read_bytes()).close()
    assert (tmp_path / "sprung").exists()  # the trap works


@pytest.mark.parametrize("content", [b"", b"not a zip at all", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_zip_is_named(tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.npz: is not an \.npz file"):
        npz(str(tmp_path / "mine.npz"))


def test_a_truncated_or_flipped_npz_is_named(tmp_path, saved):
    whole = bytearray(Path(saved()).read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "mine.npz").write_bytes(whole)
    with pytest.raises(UsageError, match=r"mine\.npz: images: cannot be read"):
        npz(str(tmp_path / "mine.npz"))


def test_a_missing_key_and_a_missing_file_are_named(tmp_path):
    np.savez(tmp_path / "mine.npz", pictures=noise_images(150))
    with pytest.raises(UsageError, match=r"mine\.npz: key 'images' is missing; it must hold uint8"):
        npz(str(tmp_path / "mine.npz"))
    with pytest.raises(UsageError, match=r"'npz:/no/such\.npz': no such file; write npz:PATH"):
        npz("/no/such.npz")


def test_too_few_images_for_the_split_name_the_part_and_both_numbers(saved):
    with pytest.raises(UsageError) as caught:
        draw_split(npz(saved()), SplitSpec(members=200))
    for word in ("mine.npz", "too few images", "150 are left", "part 'member' got 150 of at least 200", "[split]"):
        assert word in str(caught.value)


def test_high_digits_are_the_same_images_with_another_attribute():
    plain, high = digits(""), digits("high")
    np.testing.assert_array_equal(high.images, plain.images)
    np.testing.assert_array_equal(draw_split(high, SplitSpec()).attribute, load_digits().target >= 5)
    assert high.name != plain.name  # their random streams and records are kept apart


def test_digits_knows_one_argument():
    with pytest.raises(UsageError, match='write dataset = "digits" or "digits:high"'):
        digits("8x8")
