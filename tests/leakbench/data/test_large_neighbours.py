"""Neighbours of large images: what exists at one time is bounded, and the answer is the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leakbench.attacks.replication.carlini_tiled import CarliniTiled
from leakbench.data import neighbours
from leakbench.data.image_view import FeatureRows, ImageView
from leakbench.metrics.copying import pixel_similarity, ratio_similarity

SIDE, WIDTH = 32, 3 * 32 * 32


@pytest.fixture
def pixels():
    found = np.random.default_rng(0).integers(0, 256, (90, SIDE, SIDE, 3), dtype=np.uint8)
    found[40:70] = found[40]  # near-duplicates, which the ratio passes over
    return found


@pytest.fixture
def bounded(monkeypatch):
    """Numbers of images that tables were asked for at one time, where five fit into a chunk and nine into a block."""
    monkeypatch.setattr(neighbours, "_ELEMENTS", 5 * WIDTH)
    monkeypatch.setattr(neighbours, "_QUERY_ELEMENTS", 9 * WIDTH)
    seen, take = [], FeatureRows.__getitem__

    def spy(self, index):
        found = take(self, index)
        seen.append(found.numel() // WIDTH)
        return found

    monkeypatch.setattr(FeatureRows, "__getitem__", spy)
    return seen


def measure(pixels):
    queries, train = ImageView(pixels).subset(slice(20, None)), ImageView(pixels)
    return [pixel_similarity(queries, train), ratio_similarity(queries, train, 0.1)]


def test_the_nearest_of_many_large_images_are_the_same_to_the_bit(pixels, request):
    whole = measure(pixels)
    seen = request.getfixturevalue("bounded")
    for one, other in zip(whole, measure(pixels), strict=True):
        np.testing.assert_array_equal(one.index, other.index)
        np.testing.assert_array_equal(one.similarity, other.similarity)
    assert seen and max(seen) <= 9


def test_groups_of_large_images(pixels, request):
    whole = CarliniTiled().groups(ImageView(pixels))
    seen = request.getfixturevalue("bounded")
    np.testing.assert_array_equal(CarliniTiled().groups(ImageView(pixels)), whole)
    assert set(np.flatnonzero(whole >= 0)) == set(range(40, 70)) and max(seen) <= 9
    np.testing.assert_array_equal(CarliniTiled().groups(torch.as_tensor(ImageView(pixels)[:])), whole)
