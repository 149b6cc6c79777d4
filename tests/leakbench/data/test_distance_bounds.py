"""Bounds of float32 hold against float64, and searches give brute force's answers, on data made to break both."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from leakbench.data import neighbours
from leakbench.data.distance_bounds import Frame
from leakbench.data.image_transforms import transform_group
from leakbench.data.image_view import FeatureRows
from leakbench.data.neighbours import links, nearest, pairs_within, within


def normal(seed: int, count: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Queries and base of each kind; float32 where nothing else is said."""
    noise, asked = normal(0, 1500, 33), normal(1, 20, 33)
    far = noise * np.linspace(40, 1, 1500)[:, None]  # the later, the nearer: every chunk has new nearest ones
    wild = noise.copy()
    wild[[3, 700, 1499]] = np.array([1e25, -1e30, 3e38])[:, None]
    cluster = np.repeat(noise[:3], 500, axis=0) + 1e-6 * noise
    few = noise[:, :3] @ normal(2, 3, 33)
    found = {
        "all equal": (asked, np.ones((1500, 33))),
        "all equal, and the queries": (np.ones((20, 33)), np.ones((1500, 33))),
        "a common offset": (asked + 1e4, noise + 1e4),
        "a larger offset than the sample's": (asked + 1e7, np.concatenate([noise, noise + 1e7])),
        "tiny": (asked * 1e-20, noise * 1e-20),
        "tinier than float32": (asked * 1e-42, noise * 1e-42),
        "tiny beside a query": (np.concatenate([asked[:1], asked[1:] * 1e-22]), noise * 1e-22),
        "of many sizes": (asked, noise * 10.0 ** np.linspace(-30, 15, 1500)[:, None]),
        "some too long": (asked, wild),
        "a query too long": (np.concatenate([asked, asked * 1e30]), noise),
        "nearer and nearer": (asked, far),
        "clusters tighter than float32": (cluster[5:20], cluster),
        "few dimensions": (few[:20] + 1e-3 * asked, few),
        "copies": (noise[::100], np.concatenate([noise, noise[::-1]])),
    }
    return {name: (q.astype(np.float32), b.astype(np.float32)) for name, (q, b) in found.items()} | {
        "float64": (asked, noise),
        "float64 beyond float32": (asked * 1e50, noise * 1e50),
        "float16": (asked.astype(np.float16), noise.astype(np.float16)),
        "long rows": (normal(3, 4, 5000).astype(np.float32), normal(4, 60, 5000).astype(np.float32)),
    }


TABLES = tables()


def brute(queries: np.ndarray, base: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """By differences, row by row, in float64."""
    apart = np.stack([np.sqrt(np.square(base.astype(np.float64) - q).sum(axis=1)) for q in queries.astype(np.float64)])
    index = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(apart, index, axis=1)


def check(name: str, k: int) -> None:
    queries, base = TABLES[name]
    found = nearest(torch.from_numpy(queries), torch.from_numpy(base), k)
    index, distance = brute(queries, base, k)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-13)
    # Two sums of one distance may differ in the last bit; where they do, the order is that of what was returned.
    same = (found.index.numpy() == index) | (np.abs(np.diff(distance, axis=1, append=np.inf)) <= 1e-13 * distance)
    assert same.mean() > 0.99
    apart = torch.from_numpy(queries).double()[:, None] - torch.from_numpy(base).double()[found.index]
    assert torch.equal(found.distance, apart.square().sum(dim=2).sqrt())
    ties = found.distance[:, 1:] == found.distance[:, :-1]
    assert bool((found.distance[:, 1:] >= found.distance[:, :-1]).all())
    assert bool((found.index[:, 1:] > found.index[:, :-1])[ties].all())


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("name", TABLES)
def test_the_nearest_are_those_of_brute_force(name, k):
    check(name, k)


def test_every_row_may_be_asked_for():
    check("a common offset", 1500)
    check("all equal", 1500)
    check("some too long", 1500)


@pytest.mark.parametrize("name", ["all equal", "copies", "clusters tighter than float32", "nearer and nearer"])
def test_candidates_that_do_not_fit_are_measured_in_between(name, monkeypatch):
    queries, base = (torch.from_numpy(table) for table in TABLES[name])
    whole = nearest(queries, base, 3)
    monkeypatch.setattr(neighbours, "_PENDING", 1)
    monkeypatch.setattr(neighbours, "_COLUMNS", 100)
    monkeypatch.setattr(neighbours, "_QUERIES", 7)
    again = nearest(queries, base, 3)
    assert torch.equal(again.index, whole.index) and torch.equal(again.distance, whole.distance)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.sampled_from([1, 2, 64, 1024, 1025, 3000]),
    st.integers(-40, 40),
    st.sampled_from([0.0, 1.0, 1e4]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**31),
)
def test_no_squared_distance_lies_outside_its_bounds(count, width, power, offset, dtype, seed):
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(rng.choice([-25, -3]), 3, (count, 1))
    with np.errstate(over="ignore"):
        rows = ((rng.normal(size=(count, width)) * spread + offset) * 10.0**power).astype(dtype)
    rows[rng.integers(count)] = rows[0]  # a copy
    rows = np.nan_to_num(rows)
    table = torch.from_numpy(rows)
    frame = Frame.of(table[: rng.integers(1, count + 1)], table[:1], 1)
    ours, theirs = frame.rows(table).as_queries(), frame.rows(table)
    low = ours.low(theirs)
    wide = rows.astype(np.longdouble)
    exact = np.square((wide[:, None] - wide) * frame.scale).sum(axis=2)
    below = low.numpy().astype(np.longdouble) + (ours.shift.numpy()[:, None] - frame.slack)
    assert bool((below <= exact)[~ours.wild.numpy()].all())
    high = ours.high(low, torch.arange(count), theirs.whole)
    assert bool((exact <= high.numpy() - frame.slack).all())


def test_inputs_that_are_rounded_widen_the_bound():
    queries, base = (torch.from_numpy(table) for table in TABLES["few dimensions"])
    plain, whole = Frame.of(base, queries, 1), nearest(queries, base, 5)
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        assert Frame.of(base, queries, 1).eps > 100 * plain.eps
        rough = nearest(queries, base, 5)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = nearest(queries, base, 5)
    for other in (rough, cast):
        assert torch.equal(other.index, whole.index) and torch.equal(other.distance, whole.distance)


@pytest.mark.parametrize("name", ["a common offset", "some too long", "clusters tighter than float32", "copies"])
def test_pairs_within_a_radius_are_those_of_brute_force(name):
    queries, base = TABLES[name]
    apart = cdist(queries.astype(np.float64), base.astype(np.float64))
    found = nearest(torch.from_numpy(queries), torch.from_numpy(base), 3).distance[:, 2]
    for radius in (float(found.median()), 0.0, float(np.median(apart))):
        limits = torch.full((len(base),), radius, dtype=torch.float64)
        inside = pairs_within(torch.from_numpy(queries), torch.from_numpy(base), limits).numpy()
        clear = np.abs(apart - radius) > 1e-12 * radius
        assert (inside == (apart <= radius))[clear].all()
        reached = within(torch.from_numpy(queries), torch.from_numpy(base), limits).numpy()
        np.testing.assert_array_equal(reached, inside.any(axis=1))
    some = base[:300]
    pairs = links(torch.from_numpy(some), float(found.median())).tolist()
    near = np.triu(cdist(some.astype(np.float64), some.astype(np.float64)) <= float(found.median()), k=1)
    assert sorted(map(tuple, pairs)) == list(zip(*map(np.ndarray.tolist, near.nonzero()), strict=True))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_wherever_they_are(value):
    for spoilt in (0, 1):
        tables = [torch.from_numpy(table.copy()) for table in TABLES["copies"]]
        tables[spoilt][-1, 4] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            nearest(*tables)
        with pytest.raises(ValueError, match="NaN or infinite"):
            within(*tables, torch.ones(len(tables[1]), dtype=torch.float64))
    with pytest.raises(ValueError, match="NaN or infinite"):
        links(tables[1], 1.0)


@pytest.mark.parametrize("transforms", [(), transform_group(flip=True, shift=1)])
def test_rows_of_the_base_are_made_once_for_all_queries_and_transforms(transforms):
    made = []

    def make(images: torch.Tensor) -> torch.Tensor:
        made.append(len(images))
        return images.flatten(1)

    images = torch.from_numpy(normal(5, 5000, 16).reshape(5000, 1, 4, 4).astype(np.float32))
    base = FeatureRows(images, make)
    nearest(FeatureRows(images[:1500] + 0.01), base, transforms=transforms)
    # All of them once, 256 for the centre and the scale, one for the width; and the candidates of chunks of 1,024.
    assert sum(made) <= 5000 + 257 + 5000
