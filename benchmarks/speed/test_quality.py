"""What quality metrics cost beside torch-fidelity, torchmetrics, clean-fid and prdc: processor time of one thread.

    pytest benchmarks/speed/test_quality.py -s

All take the same features of 2,048 columns, and all of a test's answers are compared, too, to 1e-6.

Peers are the group `speed` of pyproject.toml; those that are missing are left out. clean-fid asks SciPy's matrix root
for a deprecated option, and is left out where SciPy refuses it.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from leakbench.metrics.frechet_distance import Moments, frechet_distance, moments
from leakbench.metrics.quality import frechet_with_shares, kid_with_shares, precision_recall_with_shares

WIDTH, IMAGES, PAIRS = 2048, 10_000, 4_000
Go = Callable[[], object]
Rows = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def features() -> Rows:
    """Two sets, correlated, cut at zero as Inception's are, and with eigenvalues over six decades."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for shift in (0.0, 0.1):
        mixing = torch.randn(WIDTH, WIDTH, generator=generator) * torch.logspace(0, -3, WIDTH)[:, None]
        found.append((torch.randn(IMAGES, WIDTH, generator=generator) @ mixing / 20 + 0.3 + shift).clamp(min=0))
    return found[0], found[1]


def identity() -> torch.nn.Module:
    """A feature module that hands on what it is given."""
    found = torch.nn.Identity()
    found.num_features = WIDTH
    return found


def from_moments(peer: str, a: Moments, b: Moments) -> Go:
    if peer == "torch-fidelity":
        from torch_fidelity.metric_fid import fid_statistics_to_metric as compute

        one, two = ({"mu": side.mean, "sigma": side.covariance} for side in (a, b))
        return lambda: compute(one, two, False)["frechet_inception_distance"]
    if peer == "torchmetrics":
        from torchmetrics.image.fid import _compute_fid

        numbers = [torch.from_numpy(x) for side in (a, b) for x in (side.mean, side.covariance)]
        return lambda: _compute_fid(*numbers).item()
    from cleanfid.fid import frechet_distance as clean

    clean(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2))
    return lambda: clean(a.mean, a.covariance, b.mean, b.covariance)


def from_features(peer: str, x: torch.Tensor, y: torch.Tensor) -> Go:
    if peer == "torch-fidelity":
        from torch_fidelity.metric_fid import fid_features_to_statistics as read
        from torch_fidelity.metric_fid import fid_statistics_to_metric as compute

        return lambda: compute(read(x), read(y), False)["frechet_inception_distance"]
    if peer == "torchmetrics":
        from torchmetrics.image.fid import FrechetInceptionDistance

        def go() -> float:
            metric = FrechetInceptionDistance(feature=identity())
            metric.set_dtype(torch.float64)
            metric.update(y, real=True)
            metric.update(x, real=False)
            return float(metric.compute())

        return go
    from cleanfid.fid import fid_from_feats, frechet_distance

    frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2))
    return lambda: fid_from_feats(x.numpy(), y.numpy())


def installed(make: Callable[[str], Go]) -> dict[str, Go]:
    found = {}
    for peer in ("torch-fidelity", "torchmetrics", "clean-fid"):
        try:
            found[peer] = make(peer)
        except (ImportError, TypeError) as error:
            print(f"\nwithout {peer}: {error}")
    return found


def agree(answers: dict[str, object], to: float = 1e-6) -> None:
    """Eigenvalues of S_a S_b itself, or a root of it, are less exact than ours where these span many decades; so a
    peer's distance may differ by what it would give for equal sides."""
    for peer in set(answers) - {"ours", "floor"}:
        print(f"  {peer}: {answers[peer]}, ours: {answers['ours']}")
        assert answers[peer] == pytest.approx(answers["ours"], rel=to), peer


def test_frechet_from_moments(race, features):
    a, b = map(moments, features)
    found = race(
        f"Frechet distance of given moments, D = {WIDTH:,}",
        lambda: frechet_distance(a, b),
        installed(lambda peer: from_moments(peer, a, b)),
        lambda: np.linalg.eigvalsh(a.covariance),
        "eigenvalues of one D x D matrix",
        at_least=2,
    )
    agree(found)


def floor_of_products(features: Rows) -> object:
    return [rows.T @ rows for rows in (side.double().numpy() for side in features)]


def test_frechet_from_features(race, features):
    x, y = features
    found = race(
        f"Frechet distance of features, {IMAGES:,} x {WIDTH:,} a side",
        lambda: frechet_distance(moments(x), moments(y)),
        installed(lambda peer: from_features(peer, x, y)),
        lambda: np.linalg.eigvalsh(floor_of_products(features)[0]),
        "X^T X of both sides, half of it, and the eigenvalues of one",
        at_least=1.5,
    )
    agree(found)


def test_interval_beside_the_value(race, features):
    x, y = features
    found = race(
        f"Frechet distance with interval and shares, {IMAGES:,} x {WIDTH:,} a side",
        lambda: frechet_with_shares(x, y)[0].value,
        {"the value alone": lambda: frechet_distance(moments(x), moments(y))},
        lambda: [side @ np.eye(WIDTH) for side in map(np.asarray, (x.double(), y.double()))],
        "the product of every row and a D x D matrix",
        at_most=5,
    )
    agree(found, 1e-9)


def test_kid(race, features):
    """Every pair, with the jackknife of both sides. torchmetrics and clean-fid draw 100 subsets of 1,000 instead; their
    kernel over every pair, without an interval, is the equal work, and the subsets are printed."""
    from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd

    x, y = (side[:PAIRS] for side in features)
    wide = x.double(), y.double()

    def subsets() -> None:
        metric = KernelInceptionDistance(feature=identity(), subset_size=1000)
        metric.update(y, real=True)
        metric.update(x, real=False)
        metric.compute()

    found = race(
        f"KID of every pair with its interval, {PAIRS:,} x {WIDTH:,} a side",
        lambda: kid_with_shares(x, y)[0].value,
        {"torchmetrics' poly_mmd of every pair, float64": lambda: poly_mmd(*wide).item()},
        lambda: [wide[0] @ wide[1].T, wide[0][: PAIRS // 2] @ wide[0].T, wide[1][: PAIRS // 2] @ wide[1].T],
        "one kernel matrix across, and half of either within",
        at_least=1,
    )
    agree(found)
    began = time.process_time()
    subsets()
    print(f"  torchmetrics' own, 100 subsets of 1,000 in float32: {time.process_time() - began:.2f} s")


def test_precision_and_recall(race, features):
    """prdc also gives density and coverage, from the same distances; its balls leave their boundary out."""
    prdc = pytest.importorskip("prdc")
    x, y = (side[:PAIRS] for side in features)
    wide = x.double(), y.double()

    def ours() -> tuple[float, float]:
        (precision, _), (recall, _) = precision_recall_with_shares(x, y, k=5)
        return precision.value, recall.value

    def theirs() -> tuple[float, float]:
        found = prdc.compute_prdc(y.numpy(), x.numpy(), nearest_k=5)
        return float(found["precision"]), float(found["recall"])

    found = race(
        f"precision and recall with intervals and shares, {PAIRS:,} x {WIDTH:,} a side",
        ours,
        {"prdc": theirs},
        lambda: [wide[0] @ wide[1].T, wide[0][: PAIRS // 2] @ wide[0].T, wide[1][: PAIRS // 2] @ wide[1].T],
        "one matrix of distances across, and half of either within, in float64",
        at_least=1,
    )
    assert found["prdc"] == pytest.approx(found["ours"], abs=0.02)
