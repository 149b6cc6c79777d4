"""Nearest neighbours beside scipy's brute force; ties, copies, chunks and the greedy removal of near-duplicates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from leakbench.data import neighbours
from leakbench.data.near_duplicates import near_duplicates
from leakbench.data.neighbours import links, nearest, within

POINTS = st.integers(1, 60), st.integers(1, 40), st.integers(1, 3), st.integers(0, 2**31 - 1)


def grid(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Points on a coarse grid: many exact ties and copies."""
    return rng.integers(-2, 3, (count, width)).astype(np.float32)


def brute(queries: np.ndarray, base: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distance = cdist(queries, base)
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(distance, index, axis=1)


@settings(max_examples=40, deadline=None)
@given(*POINTS)
def test_ties_go_to_the_lowest_index(m, n, width, seed):
    rng = np.random.default_rng(seed)
    base, queries = grid(rng, m, width), grid(rng, n, width)
    k = int(rng.integers(1, m + 1))
    found = nearest(torch.from_numpy(queries), torch.from_numpy(base), k)
    index, distance = brute(queries, base, k)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-15)


@pytest.mark.parametrize(("n", "m", "width"), [(700, 900, 64), (5, 2000, 300)])
def test_agrees_with_scipy(n, m, width):
    rng = np.random.default_rng(0)
    base, queries = rng.normal(size=(m, width)).astype(np.float32), rng.normal(size=(n, width)).astype(np.float32)
    found = nearest(torch.from_numpy(queries), torch.from_numpy(base), 7)
    index, distance = brute(queries, base, 7)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-13)


def test_a_copy_is_at_distance_zero_far_from_the_origin():
    base = torch.randn(500, 64, generator=torch.Generator().manual_seed(0)) + 1e4
    found = nearest(base.flip(0), base, 2)
    assert torch.equal(found.index[:, 0], torch.arange(499, -1, -1))
    assert bool((found.distance[:, 0] == 0).all()) and bool((found.distance[:, 1] > 1).all())


def test_more_copies_than_the_shortlist_holds():
    row = torch.randn(1, 50, generator=torch.Generator().manual_seed(1))
    base = torch.cat([torch.randn(30, 50, generator=torch.Generator().manual_seed(2)), row.expand(300, -1)])
    found = nearest(row, base, 3)
    assert found.index.tolist() == [[30, 31, 32]] and found.distance.tolist() == [[0.0, 0.0, 0.0]]


def test_batches_and_chunks_change_no_bit(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    base, queries = torch.randn(777, 33, generator=generator), torch.randn(130, 33, generator=generator)
    whole = nearest(queries, base, 4)
    alone = [nearest(q[None], base, 4) for q in queries]
    assert torch.equal(whole.distance, torch.cat([a.distance for a in alone]))
    monkeypatch.setattr(neighbours, "_ELEMENTS", 50 * 33)
    monkeypatch.setattr(neighbours, "_QUERIES", 9)
    monkeypatch.setattr(neighbours, "_PENDING", 40)
    chunked = nearest(queries, base, 4)
    assert torch.equal(whole.index, chunked.index) and torch.equal(whole.distance, chunked.distance)


@settings(max_examples=30, deadline=None)
@given(*POINTS)
def test_within_includes_the_boundary(m, n, width, seed):
    rng = np.random.default_rng(seed)
    base, queries = grid(rng, m, width), grid(rng, n, width)
    radius = rng.integers(0, 3, m).astype(np.float64)
    expected = (cdist(queries, base) <= radius).any(axis=1)
    actual = within(torch.from_numpy(queries), torch.from_numpy(base), torch.from_numpy(radius))
    np.testing.assert_array_equal(actual, expected)


def test_a_radius_of_nearest_reaches_its_neighbour():
    base = torch.randn(300, 41, generator=torch.Generator().manual_seed(4)) * 7
    found = nearest(base, base, 3)
    third = base[found.index[:, 2]]
    for query, row, radius in zip(third, base, found.distance[:, 2], strict=True):
        assert within(query[None], row[None], radius[None]).item()
        assert not within(query[None], row[None], radius[None] * (1 - 1e-12)).item()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(1, 3), st.sampled_from([0.0, 1.0, 1.5]), st.integers(0, 2**31 - 1))
def test_near_duplicates_are_dropped_greedily(count, width, radius, seed):
    points = grid(np.random.default_rng(seed), count, width)
    distance, kept = cdist(points, points), []
    for i in range(count):
        if all(distance[i, j] > radius for j in kept):
            kept.append(i)
    keep = near_duplicates(torch.from_numpy(points), radius)
    assert keep.nonzero().flatten().tolist() == kept


def test_near_duplicates_across_blocks():
    images = torch.randn(1300, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    images[1200] = images[3]
    images[1250] = images[1249] + 1e-3
    keep = near_duplicates(images, 0.0)
    assert (~keep).nonzero().flatten().tolist() == [1200]
    assert (~near_duplicates(images, 0.01)).nonzero().flatten().tolist() == [1200, 1250]


def test_wrong_input_is_named():
    table = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="k = 4 neighbours asked for among 3 rows"):
        nearest(table, table, 4)
    with pytest.raises(ValueError, match="equal width"):
        nearest(table, torch.zeros(3, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        nearest(torch.full((1, 2), torch.nan), table)
    with pytest.raises(ValueError, match="zero or more"):
        near_duplicates(table, -1.0)


def worst_part(a: np.ndarray, b: np.ndarray, parts: int) -> np.ndarray:
    """The largest of the distances of `parts` runs of columns, (n, m)."""
    return np.max([cdist(x, y) for x, y in zip(np.split(a, parts, 1), np.split(b, parts, 1), strict=True)], axis=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_parts_take_the_largest_distance_of_any(m, n, parts, seed):
    rng = np.random.default_rng(seed)
    base, queries = grid(rng, m, 2 * parts), grid(rng, n, 2 * parts)
    k = int(rng.integers(1, m + 1))
    found = nearest(torch.from_numpy(queries), torch.from_numpy(base), k, parts)
    distance = worst_part(queries, base, parts)
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, np.take_along_axis(distance, index, axis=1), rtol=1e-15)


@pytest.mark.parametrize(("count", "parts", "radius"), [(1100, 1, 1.0), (1100, 2, 0.99), (40, 4, 2.0), (1, 2, 1.0)])
def test_links_are_all_pairs_within_the_radius_once(count, parts, radius):
    points = grid(np.random.default_rng(0), count, 4)
    found = links(torch.from_numpy(points), radius, parts).tolist()
    near = np.triu(worst_part(points, points, parts) <= radius, k=1)
    assert sorted(map(tuple, found)) == list(zip(*map(np.ndarray.tolist, near.nonzero()), strict=True))


def test_bad_parts_and_radii_are_named():
    with pytest.raises(ValueError, match="no 3 equal parts"):
        nearest(torch.zeros(2, 4), torch.zeros(2, 4), parts=3)
    with pytest.raises(ValueError, match="zero or more"):
        links(torch.zeros(2, 4), float("nan"))
