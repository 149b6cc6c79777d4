"""Nonmembers that overlap a member: found and named under each transform, and not where images are unrelated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from leakbench.data.dataset import Dataset
from leakbench.data.image_view import ImageView
from leakbench.data.overlap import count_compared, format_overlap
from leakbench.data.side_overlap import find_overlap, overlap_of_split
from leakbench.data.split import SplitSpec, draw_split


@pytest.fixture(scope="module")
def pictures():
    """Smooth pictures with an outline of their own, uint8 (90, 32, 32, 1)."""
    coarse = np.random.default_rng(0).normal(size=(90, 9, 9))
    fine = np.kron(coarse, np.ones((4, 4)))[:, :32, :32]
    return np.clip(128 + 50 * fine, 0, 255).astype(np.uint8)[..., None]


MADE = {
    "mirror": lambda x: x[:, :, ::-1],
    "shift": lambda x: np.roll(x, (1, 2), (1, 2)),
    "light": lambda x: (0.6 * x + 60).astype(np.uint8),
    "scale": lambda x: np.stack([_enlarged(one[2:30, 2:30]) for one in x]),
    "mirror;shift;light": lambda x: (0.6 * np.roll(x, 1, 1)[:, :, ::-1] + 60).astype(np.uint8),
}


def _enlarged(part):
    from PIL import Image

    return np.asarray(Image.fromarray(part[..., 0]).resize((32, 32), Image.Resampling.BILINEAR))[..., None]


@pytest.mark.parametrize("words", MADE)
def test_each_transform_of_members_is_found_and_named(pictures, words):
    images = np.concatenate([pictures, MADE[words](pictures[:20])])
    found = find_overlap(ImageView(images), np.arange(50), np.arange(60, 110))
    assert found.nonmember.tolist() == list(range(90, 110)) and found.member.tolist() == list(range(20))
    assert set(found.kinds) == {words} and found.compared == 50 and found.share == 0.4


def test_patches_of_one_source_overlap_and_those_of_others_do_not():
    sources = np.random.default_rng(1).integers(0, 256, (40, 12, 12), dtype=np.uint8)
    large = np.kron(sources, np.ones((4, 4), dtype=np.uint8))[..., None]
    members = large[:20, :32, :32]
    nonmembers = np.concatenate([large[:20, 8:40, 12:44], large[20:, :32, :32]])  # by a quarter and three eighths
    found = find_overlap(ImageView(np.concatenate([members, nonmembers])), np.arange(20), np.arange(20, 60))
    assert found.nonmember.tolist() == list(range(20, 40)) and set(found.kinds) == {"patch"}


def test_unrelated_digits_are_seldom_called_overlapping():
    """Three divisions of scikit-learn's 1,797 digits: in 2,691 nonmembers one false alarm at the most."""
    levels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None]
    alarms = 0
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(len(levels))
        alarms += len(find_overlap(ImageView(levels), rows[:900], rows[900:]).nonmember)
    assert alarms <= 1


def test_empty_margins_and_flat_images_are_no_overlap():
    """A stroke in a corner: most shifts compare black with black."""
    images = np.zeros((60, 16, 16, 1), dtype=np.uint8)
    images[:, :6, :6, 0] = np.random.default_rng(2).integers(0, 256, (60, 6, 6))
    images[50:] = np.arange(10, 110, 10)[:, None, None, None]
    assert not len(find_overlap(ImageView(images), np.arange(25), np.arange(25, 60)).nonmember)


def test_the_cost_is_bounded():
    assert count_compared(1000, 1500) == 1500 and count_compared(4000, 1500) == 500
    assert count_compared(10**6, 1500) == 100


@pytest.mark.parametrize("members", [10, 60])
def test_a_few_images_held_at_a_time_give_the_same(pictures, monkeypatch, members):
    small = pictures[:70, :16, :16]
    grain = np.random.default_rng(3).integers(-3, 4, small[:20].shape)  # distances of 0 are roots of rounding alone
    mirrored = np.clip(small[:20, :, ::-1] + grain, 0, 255).astype(np.uint8)
    images = ImageView(np.concatenate([small, mirrored]))
    sides = np.arange(members), np.arange(members, 90)
    whole = find_overlap(images, *sides)
    monkeypatch.setattr("leakbench.data.side_overlap._HELD", 20)
    parts = find_overlap(images, *sides)
    assert parts.member.tolist() == whole.member.tolist() == list(range(min(members, 20)))
    assert parts.nonmember.tolist() == whole.nonmember.tolist() and parts.kinds == whole.kinds
    assert min(whole.distance) > 0.01
    np.testing.assert_allclose(parts.distance, whole.distance, atol=1e-4)


def given(images, members):
    words = np.full(len(images), "nonmember", dtype="U15")
    words[:members], words[-3:] = "member", "reference"
    return Dataset("given", images, split=words, few=True, index=np.arange(len(images))[::-1])


def test_a_given_split_is_searched_once_and_listed_by_the_numbers_of_its_images(pictures, tmp_path, monkeypatch):
    data = replace(given(np.concatenate([pictures[:10], pictures[60:], pictures[:3, :, ::-1]]), 10), folder=tmp_path)
    data.split[-3:], data.split[-8:-3] = "nonmember", "reference"
    split = draw_split(data, SplitSpec())
    found = overlap_of_split(data, split)
    assert format_overlap(data, found).splitlines()[1:] == [
        f"{2 - i},{42 - i},{found.distance[i]:.6g},0.1,mirror" for i in range(3)
    ]
    monkeypatch.setattr("leakbench.data.side_overlap._nearest", None)  # kept beside the images
    again = overlap_of_split(data, split)
    assert again.kinds == found.kinds and np.array_equal(again.distance, found.distance)


def test_a_split_that_is_drawn_here_is_not_searched(pictures):
    data = Dataset("drawn", pictures)
    small = SplitSpec(members=20, nonmembers=20, calibration_in=5, calibration_out=5)
    assert overlap_of_split(data, draw_split(data, small)) is None
