"""Near-duplicates found by coarse descriptions, beside scipy's distances of all pairs."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from leakbench.data import DUPLICATE_RADIUS, near_duplicate_groups
from leakbench.data import near_duplicates as search
from leakbench.data.image_view import ImageView
from leakbench.data.near_duplicates import Descriptions, near_duplicates, nearest_earlier

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


def small_blocks():
    """So that a few images go through many blocks, windows and both kinds of comparison."""
    return patch.multiple(search, _BLOCK=16, _ROWS=5, _COLUMNS=7, _ELEMENTS=400)


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
@given(*WORLDS)
def test_groups_are_those_of_brute_force(count, shape, kind, seed):
    pictures = ImageView(world(count, shape, kind, seed))
    images = pictures.all().double()
    flat, turned = images.flatten(1).numpy(), images.flip(-1).flatten(1).numpy()
    distance = np.minimum(cdist(flat, flat), cdist(turned, flat))
    expected = list(range(count))
    for i in range(1, count):
        j = int(np.argmin(distance[i, :i]))
        if distance[i, j] <= DUPLICATE_RADIUS * flat.shape[1] ** 0.5:
            expected[i] = expected[j]
    assert near_duplicate_groups(pictures).tolist() == expected
    with small_blocks():
        assert near_duplicate_groups(pictures).tolist() == expected


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
    measured = search._measured

    def counted(a, one, b, other, radius):
        compared.append(len(one))
        return measured(a, one, b, other, radius)

    monkeypatch.setattr(search, "_measured", counted)
    assert bool(near_duplicates(pictures, 0.1 * 768**0.5).all())
    assert sum(compared) < 0.02 * 600 * 600  # an image with itself is among them


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="zero or more, not -1"):
        near_duplicates(torch.zeros(3, 2), -1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        near_duplicates(torch.full((3, 1, 4, 4), torch.nan), 1.0)
