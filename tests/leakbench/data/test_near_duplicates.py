"""Near-duplicates found by coarse descriptions, beside scipy's distances of all pairs."""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist, pdist

from leakbench.data import DUPLICATE_SHARE, Dataset, SplitSpec, close_pairs, draw_split
from leakbench.data import near_duplicates as search
from leakbench.data.close_pairs import Descriptions, nearest_earlier
from leakbench.data.image_view import ImageView
from leakbench.data.near_duplicates import (
    duplicate_radius,
    find_near_duplicates,
    format_near_duplicates,
    near_duplicate_groups,
    near_duplicates,
)

SHAPES = st.sampled_from([(8, 8, 1), (7, 5, 3), (3, 2, 1), (12, 16, 3)])
WORLDS = st.integers(1, 90), SHAPES, st.sampled_from(["noise", "smooth", "flat"]), st.integers(0, 2**31 - 1)


def world(count: int, shape: tuple[int, ...], kind: str, seed: int) -> np.ndarray:
    """Random images (N, H, W, C), a third of them more or less like another one, or like its mirror image."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        made = rng.uniform(0, 256, (count, *shape))
    else:
        made = rng.uniform(60, 200, (count, 1, 1, shape[2])) + np.zeros(shape)
    if kind == "smooth":
        made += rng.normal(0, 40, (count, 1, 1, 1)) * np.linspace(-1, 1, shape[1])[:, None]
    for _ in range(count // 3):
        i, j = rng.integers(0, count, 2)
        twin = made[j] if rng.random() < 0.6 else made[j, :, ::-1]
        made[i] = twin + rng.choice([0.0, 1.0, 8.0, 13.0, 30.0]) * rng.standard_normal(shape)
    return made.clip(0, 255).astype(np.uint8)


@contextmanager
def small_blocks():
    """So that a few images go through many blocks, windows and both kinds of comparison."""
    with (
        patch.multiple(search, _BLOCK=16, _ELEMENTS=400),
        patch.multiple(close_pairs, _ROWS=5, _COLUMNS=7, _ELEMENTS=400),
    ):
        yield


@settings(max_examples=40, deadline=None)
@given(*WORLDS, st.sampled_from([0.0, 0.02, 0.1, 0.25, 1.0]))
def test_they_are_those_of_brute_force(count, shape, kind, seed, rms):
    pictures = ImageView(world(count, shape, kind, seed))
    flat = pictures.all().flatten(1).double().numpy()
    radius, distance, kept = rms * flat.shape[1] ** 0.5, cdist(flat, flat), []
    for i in range(count):
        if all(distance[i, j] > radius for j in kept):
            kept.append(i)
    assert near_duplicates(pictures, radius).nonzero()[:, 0].tolist() == kept
    with small_blocks():
        assert near_duplicates(pictures, radius).nonzero()[:, 0].tolist() == kept


@settings(max_examples=40, deadline=None)
@given(*WORLDS, st.sampled_from([0.0, 0.1, 0.25]))
def test_groups_are_those_of_brute_force(count, shape, kind, seed, rms):
    pictures = ImageView(world(count, shape, kind, seed))
    images = pictures.all().double()
    flat, turned = images.flatten(1).numpy(), images.flip(-1).flatten(1).numpy()
    distance = np.minimum(cdist(flat, flat), cdist(turned, flat))
    expected = list(range(count))
    for i in range(1, count):
        j = int(np.argmin(distance[i, :i]))
        if distance[i, j] <= rms * flat.shape[1] ** 0.5:
            expected[i] = expected[j]
    assert near_duplicate_groups(pictures, rms).tolist() == expected
    with small_blocks():
        assert near_duplicate_groups(pictures, rms).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(*WORLDS)
def test_descriptions_are_never_farther_apart_than_the_images(count, shape, kind, seed):
    pictures = ImageView(world(count, shape, kind, seed))
    seen, flat = Descriptions.of(pictures), pictures.all().flatten(1).double().numpy()
    whole, coarse = cdist(flat, flat), cdist(seen.cells.double(), seen.cells.double())
    level = cdist(seen.level[:, None], seen.level[:, None])
    assert (coarse <= whole + 1e-4).all() and (level <= whole + 1e-9).all()


def test_the_closest_earlier_image_of_equal_ones_is_the_first():
    pixels = np.zeros((6, 4, 4, 1), dtype=np.uint8)
    pixels[[1, 4]] = 200
    seen = Descriptions.of(ImageView(pixels))
    number, distance = nearest_earlier(seen, seen, 0.5)
    assert number.tolist() == [0, 1, 0, 0, 1, 0]
    assert distance.tolist() == [torch.inf, torch.inf, 0.0, 0.0, 0.0, 0.0]


def test_few_pairs_are_compared_pixel_by_pixel(monkeypatch):
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (600, 1, 1, 3)) + generator.normal(0, 20, (600, 16, 16, 3))
    pictures = ImageView(pixels.clip(0, 255).astype(np.uint8))
    compared = []
    measured = close_pairs._measured

    def counted(a, one, b, other, radius):
        compared.append(len(one))
        return measured(a, one, b, other, radius)

    monkeypatch.setattr(close_pairs, "_measured", counted)
    assert bool(near_duplicates(pictures, 0.1 * 768**0.5).all())
    assert sum(compared) < 0.02 * 600 * 600  # an image with itself is among them


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="zero or more, not -1"):
        near_duplicates(torch.zeros(3, 2), -1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        near_duplicates(torch.full((3, 1, 4, 4), torch.nan), 1.0)


def smooth(count: int, deviation: float, seed: int = 0) -> np.ndarray:
    """Independent smooth grey images, uint8 (N, 16, 16, 1), of a contrast: standard deviation of the 256 levels."""
    made = np.random.default_rng(seed).standard_normal((count, 16, 16))
    made = gaussian_filter(made, sigma=(0, 3, 3), mode="wrap")
    made *= deviation / made.std(axis=(1, 2), keepdims=True)
    return (128 + made).round().clip(0, 255).astype(np.uint8)[..., None]


def test_independent_images_of_low_contrast_stay():
    data = Dataset("smooth", smooth(500, 6))
    kept = near_duplicates(ImageView(data.images), 0.1 * 16)
    assert int(kept.sum()) < 10  # an absolute radius of 0.1 leaves out nearly all
    assert draw_split(data, SplitSpec(members=100, nonmembers=100)).removed == 0
    assert near_duplicate_groups(ImageView(data.images)).tolist() == list(range(500))


@pytest.mark.parametrize("share", [0.05, DUPLICATE_SHARE, 0.6])
def test_halving_the_contrast_leaves_out_the_same_images(share):
    pixels = world(300, (8, 8, 1), "smooth", 5) // 2 * 2
    whole, half = (find_near_duplicates(Dataset("mine", images), share) for images in (pixels, pixels // 2))
    assert half.radius == pytest.approx(whole.radius / 2, rel=1e-5)
    np.testing.assert_array_equal(half.keep, whole.keep)
    np.testing.assert_array_equal(half.resembles, whole.resembles)


@settings(max_examples=40, deadline=None)
@given(*WORLDS)
def test_the_radius_is_a_share_of_the_median_distance_of_pairs(count, shape, kind, seed):
    pictures = ImageView(world(count, shape, kind, seed))
    flat = pictures.all().flatten(1).double().numpy()
    expected = 0.15 * np.median(pdist(flat)) / flat.shape[1] ** 0.5 if count > 1 else 0.0
    assert duplicate_radius(pictures) == pytest.approx(expected, rel=1e-5)  # 90 images have 4,005 pairs: all are taken


def test_of_many_images_random_pairs_are_taken():
    flat = np.random.default_rng(0).normal(size=(2000, 3)) * [1.0, 2.0, 3.0]
    expected = np.median(pdist(flat)) / 3**0.5
    # The median of 4,096 of them is within four standard errors: 0.25 / (4096 f^2) with a density f above 0.3.
    assert duplicate_radius(torch.from_numpy(flat), 1.0) == pytest.approx(expected, abs=4 * 0.5 / (64 * 0.3))


@settings(max_examples=40, deadline=None)
@given(*WORLDS, st.sampled_from([0.05, 0.15, 0.5]), st.booleans())
def test_each_image_left_out_has_the_nearest_kept_one_before_it(count, shape, kind, seed, share, grouped):
    """But for those that belong together with it."""
    pixels, rng = world(count, shape, kind, seed), np.random.default_rng(seed)
    precedence, number = rng.integers(0, 2, count), rng.integers(0, count // 3 + 1, count)
    together = number if grouped else np.arange(count)
    found = find_near_duplicates(Dataset("mine", pixels, precedence=precedence), share, together if grouped else None)
    flat = ImageView(pixels).all().flatten(1).double().numpy()
    rms = cdist(flat, flat) / flat.shape[1] ** 0.5
    order = [*np.flatnonzero(precedence == 0), *np.flatnonzero(precedence == 1)]
    kept: list[int] = []
    for i in order:
        near = [j for j in kept if rms[i, j] <= found.radius and together[i] != together[j]]
        if near:
            best = min(near, key=lambda j: rms[i, j])
            assert not found.keep[i] and found.resembles[i] == best
            assert found.distance[i] == pytest.approx(rms[i, best], abs=1e-12)
        else:
            kept.append(i)
            assert found.keep[i] and found.resembles[i] == i


def test_the_list_has_the_numbers_of_both_images():
    pixels = world(40, (8, 8, 1), "noise", 9)
    pixels[30], pixels[35] = pixels[3], pixels[4]
    pixels[35, 0, 0] ^= 1
    found = find_near_duplicates(Dataset("mine", pixels[:, :, :]))
    index = np.arange(40) + 1000
    header, *rows = format_near_duplicates(Dataset("mine", pixels, index=index), found).splitlines()
    assert header == "image,resembles,distance,radius"
    listed = {int(a): (int(b), float(d), float(r)) for a, b, d, r in (row.split(",") for row in rows)}
    assert set(listed) == set(np.flatnonzero(~found.keep) + 1000)
    assert listed[1030][:2] == (1003, 0.0)
    assert listed[1035][0] == 1004 and listed[1035][1] == pytest.approx(2 / 255 / 8, rel=1e-5)
    assert all(radius == pytest.approx(found.radius, rel=1e-5) for _, _, radius in listed.values())


def test_a_radius_of_zero_leaves_out_exact_copies_only():
    pixels = world(40, (8, 8, 1), "noise", 9)
    pixels[30], pixels[35] = pixels[3], pixels[4]
    pixels[35, 0, 0] ^= 1
    keep = find_near_duplicates(Dataset("mine", pixels), 0.0).keep
    assert not keep[30] and keep[35]
