"""Exact nearest neighbours beside faiss's flat index and scikit-learn's brute force, on one thread, round by round.

    pytest benchmarks/speed/test_neighbours.py -s

A round times ours and each peer one after the other on the same arrays, by processor time on the CPU, so that a busy
machine slows all; what is said is the median of each and of the rounds' ratios peer / ours. Making the index counts:
faiss copies the base, ours centres it. The peers compute in float32, whose neighbours may be other ones where
distances are close and whose distance of a copy need not be 0; ours are those of float64. `floor` is the float32
product of all queries with all rows by torch.mm, and `product` the same by oneDNN in chunks, as ours takes it.

Data: noise; few dimensions (32, with a little noise: as real images, near in places); copies (a fifth of the base twice
or more, queries among them). On CUDA the goal is half of the measured rate of torch.mm, without TF32.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from leakbench.data.image_transforms import transform_group
from leakbench.data.image_view import FeatureRows
from leakbench.data.neighbours import Neighbours, nearest
from leakbench.runtime.device import prepare

SIZES = {"20,000 x 3,072, 1,000 queries": (20_000, 3072, 1000), "50,000 x 512, 2,000 queries": (50_000, 512, 2000)}
ROUNDS, CUDA = 3, torch.device("cuda")
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


def processor(go: Step) -> float:
    began = time.process_time()
    go()
    return time.process_time() - began


def on_device(go: Step) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    go()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def race(steps: dict[str, Step], clock: Callable[[Step], float], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of every round, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, go in steps.items():
            taken = clock(go)
            if number:
                times[name].append(taken)
    return times


def tell(benchmark, claim: str, times: dict[str, list[float]], peers: list[str]) -> float:
    """Print and keep the medians; the ratio to the faster peer."""
    middle = {name: statistics.median(taken) for name, taken in times.items()}
    peer = min(peers, key=middle.__getitem__)
    ratio = statistics.median(a / b for a, b in zip(times[peer], times["ours"], strict=True))
    benchmark.extra_info.update(
        claim=claim,
        ours=middle["ours"],
        peer=middle[peer],
        peer_name=peer,
        ratio=round(ratio, 2),
        floor=middle["floor"],
        floor_name="torch.mm in float32",
        seconds={name: round(value, 4) for name, value in middle.items()},
    )
    said = ", ".join(f"{name} {value:.3f} s" for name, value in middle.items())
    print(f"\n{claim}: {ratio:.2f} times as fast as {peer} ({said})")
    return ratio


@pytest.mark.parametrize(("data", "k"), [("noise", 1), ("noise", 5), ("few dimensions", 1), ("copies", 5)])
@pytest.mark.parametrize("size", SIZES)
def test_beside_faiss_and_scikit_learn(benchmark, size, data, k):
    prepare(torch.device("cpu"))
    queries, base = DATA[data](*SIZES[size])
    arrays = queries.numpy(), base.numpy(), k
    steps: dict[str, Step] = {
        "ours": partial(nearest, queries, base, k),
        "faiss": by_faiss(*arrays),
        "scikit-learn": by_sklearn(*arrays),
        "floor": partial(torch.mm, queries, base.T),
        "product": partial(product, queries, base),
    }
    with threadpool_limits(1):
        found: Neighbours = nearest(queries, base, k)
        apart = (queries.double() - base[found.index[:, 0]].double()).square().sum(dim=1)
        theirs = torch.from_numpy(steps["faiss"]()[1][:, 0])  # type: ignore[index]
        assert bool((apart <= (queries.double() - base[theirs].double()).square().sum(dim=1)).all())
        times = race(steps, processor)
        ratio = tell(benchmark, f"nearest neighbours, {size}, {data}, k = {k}", times, ["faiss", "scikit-learn"])
        benchmark.pedantic(steps["ours"], rounds=1)
    assert ratio >= 1


@pytest.mark.parametrize("shift", [0, 1])
def test_a_search_over_transforms_beside_its_share(benchmark, shift):
    """`ratio`: as many plain searches' time as there are transforms, over that of the search over all of them."""
    prepare(torch.device("cpu"))
    queries, base = few_dimensions(20_000, 3072, 200)
    tables = FeatureRows(queries.view(-1, 3, 32, 32)), FeatureRows(base.view(-1, 3, 32, 32))
    group = transform_group(flip=True, shift=shift)
    steps = {
        "ours": partial(nearest, *tables, transforms=group),
        "each by itself": lambda: [nearest(tables[0].transformed(one), tables[1]) for one in group],
        "floor": lambda: [torch.mm(queries, base.T) for _ in group],
    }
    claim = f"a search over {len(group)} transforms, 20,000 x 3,072, 200 queries"
    with threadpool_limits(1):
        times = race(steps, processor, rounds=3)
        ratio = tell(benchmark, claim, times, ["each by itself"])
        benchmark.pedantic(steps["ours"], rounds=1)
    assert ratio >= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("size", SIZES)
def test_half_of_the_matrix_products_rate_on_cuda(benchmark, size, k):
    prepare(CUDA)
    rows, width, asked = SIZES[size]
    queries, base = (table.to(CUDA) for table in noise(rows, width, 10 * asked))
    steps = {"ours": partial(nearest, queries, base, k), "floor": partial(torch.mm, queries, base.T)}
    times = race(steps, on_device, rounds=9)
    ratio = tell(benchmark, f"nearest neighbours on CUDA, {size} x 10, k = {k}", times, ["floor"])
    benchmark.pedantic(steps["ours"], rounds=1)
    assert ratio >= 0.5
