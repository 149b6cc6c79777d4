"""Searches over transforms beside brute force over every transformed query; what each transform does to an image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import shift as scipy_shift
from scipy.spatial.distance import cdist

from leakbench.data.image_transforms import transform_group
from leakbench.data.image_view import FeatureRows, ImageView
from leakbench.data.neighbours import nearest


def coarse(rng, count, size=4):
    """Images on a coarse grid of values: many exact ties, copies and mirror images."""
    return torch.from_numpy(rng.integers(-1, 2, (count, 1, size, size)).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 30), st.booleans(), st.integers(0, 1), st.integers(0, 1), st.integers(0, 2**31)
)
def test_the_nearest_over_transforms_are_those_of_brute_force(m, n, flip, shift, crop, seed):
    rng = np.random.default_rng(seed)
    base, queries = coarse(rng, m), coarse(rng, n)
    transforms, k = transform_group(flip, shift, crop), int(rng.integers(1, m + 1))
    found = nearest(FeatureRows(queries), FeatureRows(base), k, transforms=transforms)
    flat = base.flatten(1).double().numpy()
    every = np.stack([cdist(one(queries).flatten(1).double().numpy(), flat) for one in transforms])
    least = every.min(axis=0)
    for row in range(n):
        order = np.lexsort([np.arange(m), least[row].round(9)])[:k]
        np.testing.assert_allclose(found.distance[row], least[row, order], rtol=1e-12, atol=1e-12)
        if crop:  # sums of interpolated values are rounded, and ties of theirs broken by that
            continue
        np.testing.assert_array_equal(found.index[row], order)
        np.testing.assert_array_equal(found.transform[row], every[:, row, order].round(9).argmin(axis=0))


def test_parts_and_several_blocks_of_queries():
    rng = np.random.default_rng(3)
    base, queries = torch.from_numpy(rng.normal(size=(50, 1, 4, 4))), torch.from_numpy(rng.normal(size=(1100, 1, 4, 4)))
    transforms = transform_group(flip=True, shift=1)
    found = nearest(FeatureRows(queries), FeatureRows(base), 2, parts=4, transforms=transforms)
    runs = base.flatten(1).numpy().reshape(50, 4, 4)
    asked = np.stack([one(queries).flatten(1).numpy().reshape(1100, 4, 4) for one in transforms])
    worst = np.linalg.norm(asked[:, :, None] - runs, axis=-1).max(axis=-1)
    least = worst.min(axis=0)
    order = least.argsort(axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(found.index, order)
    np.testing.assert_allclose(found.distance, np.take_along_axis(least, order, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found.transform, np.take_along_axis(worst.argmin(axis=0), order, axis=1))


def test_no_transforms_and_the_identity_alone_change_no_bit():
    generator = torch.Generator().manual_seed(3)
    base, queries = torch.randn(77, 3, 5, 4, generator=generator), torch.randn(30, 3, 5, 4, generator=generator)
    plain = nearest(FeatureRows(queries), FeatureRows(base), 4)
    alone = nearest(FeatureRows(queries), FeatureRows(base), 4, transforms=transform_group(flip=False))
    assert plain.transform is None and torch.equal(alone.transform, torch.zeros(30, 4, dtype=torch.int64))
    assert torch.equal(plain.index, alone.index) and torch.equal(plain.distance, alone.distance)


@pytest.mark.parametrize("name", ["mirror", "shift +1 -2", "mirror, shift -1 +1"])
def test_a_transformed_copy_is_found_and_its_transform_is_named(name):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    transforms = transform_group(flip=True, shift=2)
    (number,) = [number for number, one in enumerate(transforms) if one.name == name]
    train = ImageView(pixels)
    copy = transforms[number](train[7:8])
    found = nearest(FeatureRows(train), FeatureRows(copy), transforms=transforms)
    assert (found.index[7, 0].item(), found.distance[7, 0].item()) == (0, 0.0)
    assert transforms[found.transform[7, 0]].name == name
    assert bool((found.distance[torch.arange(40) != 7] > 0).all())


def test_a_shift_repeats_the_edge_as_scipys_does():
    images = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    for transform in transform_group(flip=False, shift=2)[1:]:
        down, across = (int(word) for word in transform.name.split()[1:])
        expected = scipy_shift(images.numpy(), (0, 0, down, across), order=0, mode="nearest")
        np.testing.assert_array_equal(transform(images), expected)


def test_a_crop_is_pillows_crop_and_resize():
    pixels = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    boxes = {"00": (0, 0), "02": (4, 0), "20": (0, 4), "22": (4, 4), "11": (2, 2)}
    for transform in transform_group(flip=False, crop=4)[1:]:
        left, top = boxes[transform.name.split()[1]]
        image = Image.fromarray(pixels).crop((left, top, left + 12, top + 12))
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
        found = transform(torch.from_numpy(pixels)[None, None])[0, 0]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="give the queries as FeatureRows"):
        nearest(torch.zeros(3, 4), torch.zeros(3, 4), transforms=transform_group())
    with pytest.raises(ValueError, match="zero or more"):
        transform_group(shift=-1)
    with pytest.raises(ValueError, match="leaves nothing of images of 4x4"):
        transform_group(crop=4)[-1](torch.zeros(1, 1, 4, 4))
