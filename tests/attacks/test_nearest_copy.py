"""Planted copies are found, at the similarity that a copy has; batches and order do not matter."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from leakbench.api import Access
from leakbench.attacks.replication.nearest_copy import NearestCopy
from leakbench.device import Streams

STREAMS = Streams("test", 0)
TRAIN = torch.tanh(STREAMS.of("train").normal(torch.arange(60), (3, 8, 8)))
FRESH = torch.tanh(STREAMS.of("fresh").normal(torch.arange(30), (3, 8, 8)))
PLANTED = {3: 17, 11: 0, 29: 59}  # row of the queries -> row of the training images
QUERIES = FRESH.clone()
for row, source in PLANTED.items():
    QUERIES[row] = TRAIN[source]
PROJECTION = STREAMS.of("projection").normal(torch.arange(192), (16,))


def embed(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1) @ PROJECTION


@pytest.mark.parametrize(("by", "copy"), [("pixels", 0.0), ("features", 1.0)])
def test_planted_copies_are_found_at_the_similarity_of_a_copy(by, copy):
    found = NearestCopy(by=by).match(QUERIES, TRAIN, embed)
    for row, source in PLANTED.items():
        assert found.index[row] == source and found.similarity[row] == pytest.approx(copy, abs=1e-6)
    others = np.delete(found.similarity, list(PLANTED))
    assert others.max() < copy - 0.05


def test_pixels_are_scikit_learns_nearest_neighbour():
    found = NearestCopy(by="pixels").match(QUERIES, TRAIN, embed)
    theirs = NearestNeighbors(n_neighbors=1).fit(TRAIN.flatten(1).double())
    distance, index = theirs.kneighbors(QUERIES.flatten(1).double())
    assert np.array_equal(found.index, index[:, 0])
    np.testing.assert_allclose(-found.similarity, distance[:, 0] / np.sqrt(192), atol=1e-6)


def test_features_are_the_cosine_by_a_plain_loop():
    found = NearestCopy(by="features").match(QUERIES, TRAIN, embed)
    ours, theirs = embed(QUERIES).double().numpy(), embed(TRAIN).double().numpy()
    for i, q in enumerate(ours):
        cosine = [float(q @ r / np.linalg.norm(q) / np.linalg.norm(r)) for r in theirs]
        assert found.index[i] == int(np.argmax(cosine)) and found.similarity[i] == pytest.approx(max(cosine), abs=1e-6)


@pytest.mark.parametrize("by", ["pixels", "features"])
def test_batches_and_order_do_not_matter(by):
    attack = NearestCopy(by=by)
    whole = attack.match(QUERIES, TRAIN, embed)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    turned = attack.match(QUERIES[order], TRAIN, embed)
    assert np.array_equal(turned.index, whole.index[order])
    np.testing.assert_allclose(turned.similarity, whole.similarity[order], atol=1e-6)
    parts = [attack.match(rows, TRAIN, embed) for rows in QUERIES.split(7)]
    assert np.array_equal(np.concatenate([part.index for part in parts]), whole.index)
    np.testing.assert_allclose(np.concatenate([part.similarity for part in parts]), whole.similarity, atol=1e-6)


def test_it_sees_samples_only_and_names_its_space():
    assert NearestCopy().access is Access.SAMPLES
    assert NearestCopy(by="pixels").space("inception") == "pixels"
    assert NearestCopy(by="features").space("inception") == "inception"


def test_pixels_never_touch_the_embedding():
    def never(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("embedded")

    assert len(NearestCopy(by="pixels").match(QUERIES, TRAIN, never).index) == 30
