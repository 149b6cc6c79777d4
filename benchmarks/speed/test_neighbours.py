"""Exact nearest neighbours beside faiss's flat index and scikit-learn's brute force, on one thread, round by round.

    pytest benchmarks/speed/test_neighbours.py -s

Making the index counts: faiss copies the base, ours centres it. The peers compute in float32, whose neighbours may be
other ones where distances are close and whose distance of a copy need not be 0; ours are those of float64. The floor is
the float32 product of all queries with all rows by oneDNN in chunks, as ours takes it; torch.mm took 2.2 times as long
on an AMD EPYC.

Data: noise; few dimensions (32, with a little noise: as real images, near in places); copies (a fifth of the base twice
or more, queries among them). On CUDA the goal is half of the measured rate of torch.mm, without TF32.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from leakbench.data.image_transforms import transform_group
from leakbench.data.image_view import FeatureRows
from leakbench.data.neighbours import nearest
from leakbench.runtime.device import prepare

SIZES = {"20,000 x 3,072, 1,000 queries": (20_000, 3072, 1000), "50,000 x 512, 2,000 queries": (50_000, 512, 2000)}
CUDA = torch.device("cuda")
Step = Callable[[], object]


def noise(rows: int, width: int, asked: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    return torch.randn(asked, width, generator=stream), torch.randn(rows, width, generator=stream)


def few_dimensions(rows: int, width: int, asked: int) -> tuple[torch.Tensor, torch.Tensor]:
    stream = torch.Generator().manual_seed(1)
    axes = torch.randn(32, width, generator=stream) / torch.arange(1, 33)[:, None]
    points = torch.randn(rows + asked, 32, generator=stream) @ axes
    points += 0.05 * torch.randn(points.shape, generator=stream) + 0.3
    return points[:asked].clone(), points[asked:].clone()


def copies(rows: int, width: int, asked: int) -> tuple[torch.Tensor, torch.Tensor]:
    queries, base = few_dimensions(rows, width, asked)
    base[-rows // 5 :] = base[torch.arange(rows // 5) % (rows // 10)]
    queries[::2] = base[: len(queries[::2])]
    return queries, base


DATA = {"noise": noise, "few dimensions": few_dimensions, "copies": copies}


def by_faiss(queries: np.ndarray, base: np.ndarray, k: int) -> Step:
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed: uv pip install --group speed")
    faiss.omp_set_num_threads(1)

    def go() -> object:
        index = faiss.IndexFlatL2(base.shape[1])
        index.add(base)
        return index.search(queries, k)

    return go


def by_sklearn(queries: np.ndarray, base: np.ndarray, k: int) -> Step:
    from sklearn.neighbors import NearestNeighbors

    return lambda: NearestNeighbors(n_neighbors=k, algorithm="brute").fit(base).kneighbors(queries)


def product(queries: torch.Tensor, base: torch.Tensor) -> None:
    laid_out = queries.to_mkldnn()
    for chunk in base.split(1024):
        F.linear(laid_out, chunk)


@pytest.mark.parametrize(("data", "k"), [("noise", 1), ("noise", 5), ("few dimensions", 1), ("copies", 5)])
@pytest.mark.parametrize("size", SIZES)
def test_beside_faiss_and_scikit_learn(race, size, data, k):
    prepare(torch.device("cpu"))
    queries, base = DATA[data](*SIZES[size])
    arrays = queries.numpy(), base.numpy(), k
    found = race(
        f"nearest neighbours, {size}, {data}, k = {k}",
        partial(nearest, queries, base, k),
        {"faiss": by_faiss(*arrays), "scikit-learn": by_sklearn(*arrays)},
        partial(product, queries, base),
        "one product in float32 by oneDNN",
        at_least=1,
    )
    ours, theirs = found["ours"].index[:, 0], torch.from_numpy(found["faiss"][1][:, 0])  # type: ignore
    apart = [(queries.double() - base[rows].double()).square().sum(dim=1) for rows in (ours, theirs)]
    assert bool((apart[0] <= apart[1]).all())


@pytest.mark.parametrize("shift", [0, 1])
def test_a_search_over_transforms_beside_its_share(race, shift):
    """Beside as many plain searches as there are transforms."""
    prepare(torch.device("cpu"))
    queries, base = few_dimensions(20_000, 3072, 200)
    tables = FeatureRows(queries.view(-1, 3, 32, 32)), FeatureRows(base.view(-1, 3, 32, 32))
    group = transform_group(flip=True, shift=shift)
    race(
        f"a search over {len(group)} transforms, 20,000 x 3,072, 200 queries",
        partial(nearest, *tables, transforms=group),
        {"each by itself": lambda: [nearest(tables[0].transformed(one), tables[1]) for one in group]},
        lambda: [product(queries, base) for _ in group],
        "a product each",
        at_least=1,
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("size", SIZES)
def test_half_of_the_matrix_products_rate_on_cuda(race, size, k):
    prepare(CUDA)
    rows, width, asked = SIZES[size]
    queries, base = (table.to(CUDA) for table in noise(rows, width, 10 * asked))
    race(
        f"nearest neighbours on CUDA, {size} x 10, k = {k}",
        partial(nearest, queries, base, k),
        {"torch.mm": partial(torch.mm, queries, base.T)},
        rounds=9,
        at_least=0.5,
        device="cuda",
    )
