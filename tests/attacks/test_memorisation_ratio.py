"""d1 / d2 beside a plain loop; a planted copy of a duplicated image is seen only through the duplicate radius."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leakbench.attacks.replication.memorisation_ratio import MemorisationRatio
from leakbench.runtime.device import Rng

STREAMS = Rng("test", 0)
UNIQUE = torch.tanh(STREAMS.of("train").normal(torch.arange(40), (1, 8, 8)))
TWINS = UNIQUE[:1] + 0.03 * STREAMS.of("twins").normal(torch.arange(30), (1, 8, 8))  # of image 0, within the radius
TRAIN = torch.cat([UNIQUE, TWINS])
COPY = 0.02 * STREAMS.of("copy").normal(torch.arange(2), (1, 8, 8))
QUERIES = torch.cat(
    [
        UNIQUE[7:8] + COPY[0],  # a copy of a unique image
        UNIQUE[0:1] + COPY[1],  # a copy of an image that is there 31 times
        torch.tanh(STREAMS.of("fresh").normal(torch.arange(20), (1, 8, 8))),
    ]
)


def unused(images: torch.Tensor) -> torch.Tensor:
    raise AssertionError("embedded")


def fires(attack: MemorisationRatio, queries: torch.Tensor, train: torch.Tensor) -> list[bool]:
    return (attack.match(queries, train, unused).similarity >= attack.published).tolist()


def test_a_copy_of_a_unique_image_fires_and_fresh_images_do_not():
    for radius in (0.0, 0.1):
        fired = fires(MemorisationRatio(radius=radius), QUERIES, UNIQUE)
        assert fired == [True, True] + [False] * 20


def test_a_copy_of_a_duplicated_image_fires_only_with_the_duplicate_radius():
    assert fires(MemorisationRatio(radius=0.0), QUERIES, TRAIN) == [True, False] + [False] * 20
    assert fires(MemorisationRatio(), QUERIES, TRAIN) == [True, True] + [False] * 20


def test_exact_duplicates_are_passed_over_at_radius_zero():
    twice = torch.cat([UNIQUE, UNIQUE])
    assert fires(MemorisationRatio(radius=0.0), QUERIES, twice)[:2] == [True, True]


@pytest.mark.parametrize("radius", [0.0, 0.1, 0.5])
def test_it_is_the_ratio_by_a_plain_loop(radius):
    found = MemorisationRatio(radius=radius).match(QUERIES, TRAIN, unused)
    train = TRAIN.double().numpy()
    for i, query in enumerate(QUERIES.double().numpy()):
        distances = [np.sqrt(((query - x) ** 2).mean()) for x in train]
        first = int(np.argmin(distances))
        others = [d for d, x in zip(distances, train, strict=True) if rms(x, train[first]) > radius]
        assert found.index[i] == first
        assert -found.similarity[i] == pytest.approx(distances[first] / min(others), rel=1e-6)


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))


def test_an_exact_copy_and_a_training_set_of_duplicates_have_ratio_zero():
    assert MemorisationRatio().match(UNIQUE, TRAIN, unused).similarity.tolist() == [0.0] * 40
    alone = torch.cat([UNIQUE[:1], TWINS[:3]])
    assert MemorisationRatio().match(QUERIES, alone, unused).similarity.tolist() == [0.0] * 22


@pytest.mark.parametrize("count", [1, 2, 3, 9, 33])
def test_small_training_sets(count):
    found = MemorisationRatio(radius=0.0).match(QUERIES, UNIQUE[:count], unused)
    assert bool((found.similarity < 0).all()) == (count > 1) and bool((found.similarity >= -1).all())


def test_batches_and_order_do_not_matter():
    attack = MemorisationRatio()
    whole = attack.match(QUERIES, TRAIN, unused)
    order = np.random.default_rng(0).permutation(22)
    turned = attack.match(QUERIES[order], TRAIN, unused)
    assert np.array_equal(turned.index, whole.index[order])
    np.testing.assert_array_equal(turned.similarity, whole.similarity[order])
    parts = [attack.match(rows, TRAIN, unused).similarity for rows in QUERIES.split(5)]
    np.testing.assert_array_equal(np.concatenate(parts), whole.similarity)
