"""The Frechet distance beside closed forms, SciPy's matrix root and other people's implementations."""

import numpy as np
import pytest
import torch

from leakbench.metrics.frechet_distance import Moments, Side, frechet_distance, frechet_of_sides, moments
from leakbench.metrics.quality import frechet


def draw(seed: int, n: int, width: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) * scale + shift


def rotation(width: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(width, width)))[0]


def test_closed_form_for_commuting_covariances():
    rng, basis = np.random.default_rng(1), rotation(20)
    va, vb, mean = rng.uniform(0.1, 3, 20), rng.uniform(0, 2, 20), rng.normal(size=20)
    a = Moments(mean, basis * va @ basis.T, 100)
    b = Moments(np.zeros(20), basis * vb @ basis.T, 100)
    expected = (mean**2).sum() + ((np.sqrt(va) - np.sqrt(vb)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_is_zero_at_home_turns_and_scales():
    a, b = moments(draw(1, 400, 16)), moments(draw(2, 400, 16, shift=0.3, scale=1.4))
    turn, value = rotation(16), frechet_distance(a, b)
    turned = [Moments(m.mean @ turn, turn.T @ m.covariance @ turn, m.n) for m in (a, b)]
    scaled = [Moments(3 * m.mean, 9 * m.covariance, m.n) for m in (a, b)]
    assert 0 <= frechet_distance(a, a) < 1e-9
    assert frechet_distance(*turned) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(*scaled) == pytest.approx(9 * value, rel=1e-9)


@pytest.mark.parametrize("n", [300, 30])  # 30 rows of 64 numbers: singular covariances, and the other formula
def test_frechet_agrees_with_torchmetrics(n):
    from torchmetrics.image.fid import _compute_fid

    x, y = draw(3, n, 64).abs(), draw(4, n, 64, shift=0.2, scale=1.5).abs()
    theirs = _compute_fid(x.double().mean(0), x.double().T.cov(), y.double().mean(0), y.double().T.cov()).item()
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(theirs, rel=1e-4)
    assert frechet(x, y).value == pytest.approx(theirs, rel=1e-4)


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # clean-fid's own use of SciPy
def test_frechet_agrees_with_clean_fid():
    from cleanfid.fid import fid_from_feats

    x, y = draw(5, 300, 32), draw(6, 300, 32, shift=0.2, scale=1.5)
    try:
        theirs = fid_from_feats(x.double().numpy(), y.double().numpy())
    except TypeError as error:
        pytest.skip(f"clean-fid calls a SciPy function that this SciPy no longer has: {error}")
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(theirs, rel=1e-4)


def by_matrix_root(a: Moments, b: Moments) -> float:
    from scipy.linalg import sqrtm

    root = sqrtm(sqrtm(a.covariance) @ b.covariance @ sqrtm(a.covariance))
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root.real))


def test_distance_is_that_of_scipys_matrix_root():
    x, y = draw(1, 500, 40).double() @ draw(2, 40, 40).double(), draw(3, 500, 40, shift=0.2).double()
    a, b = moments(x), moments(y)
    assert frechet_distance(a, b) == pytest.approx(by_matrix_root(a, b), rel=1e-9)
    assert frechet_of_sides(Side(x), Side(y))[0] == pytest.approx(by_matrix_root(a, b), rel=1e-9)


def by_factors(x: torch.Tensor, y: torch.Tensor) -> float:
    a, b = ((rows - rows.mean(dim=0)) / (len(rows) - 1) ** 0.5 for rows in (x, y))
    shared = torch.linalg.svdvals(a @ b.T).sum()
    apart = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return float(apart + a.square().sum() + b.square().sum() - 2 * shared)


def repeated(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, x[:, :3]], dim=1)


def with_constants(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.zeros(len(x), 2), torch.full((len(x), 2), 0.7)], dim=1).double()


def from_three(x: torch.Tensor) -> torch.Tensor:
    return x[:, :3] @ draw(9, 3, 20)


def as_they_are(x: torch.Tensor) -> torch.Tensor:
    return x


@pytest.mark.parametrize("of_x", [repeated, with_constants, from_three, as_they_are])
@pytest.mark.parametrize("of_y", [repeated, with_constants, from_three, as_they_are])
@pytest.mark.parametrize("n", [90, 12])
def test_singular_covariances(of_x, of_y, n):
    """Beside the sum of singular values of A B^T, which is exact to rounding."""
    x, y = of_x(draw(1, n, 20)).double(), of_y(draw(2, n, 20)).double()
    wide = max(x.shape[1], y.shape[1])
    x, y = (torch.nn.functional.pad(rows, (0, wide - rows.shape[1])) for rows in (x, y))
    y = 1.3 * y + 0.1
    exact = by_factors(x, y)
    value, ours, theirs = frechet_of_sides(Side(x), Side(y))
    assert value == pytest.approx(exact, rel=1e-7)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(exact, rel=1e-7)
    swapped = frechet_of_sides(Side(y), Side(x))
    np.testing.assert_allclose(swapped[1], theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(swapped[2], ours, rtol=1e-4, atol=1e-6)


def test_many_directions_without_variance_leave_the_value_exact():
    """By eigenvalues alone, rounding errors in 150 directions would add up."""
    x, y = draw(1, 400, 200).double(), draw(2, 51, 200).double()
    exact = by_factors(x, y)
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(exact, rel=1e-8)
    assert frechet_distance(moments(y), moments(x)) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("n", [90, 12])
def test_equal_sides_are_at_zero_to_rounding(n):
    for change in (repeated, with_constants, from_three, as_they_are):
        x = change(draw(1, n, 20)).double()
        scale = float(moments(x).covariance.trace())
        value, ours, theirs = frechet_of_sides(Side(x), Side(x))
        assert 0 <= value < 1e-8 * scale and 0 <= frechet_distance(moments(x), moments(x)) < 1e-8 * scale
        assert abs(ours).max() < 1e-6 * scale and abs(theirs).max() < 1e-6 * scale
    constant = torch.ones(n, 3)
    assert frechet(constant, constant).value == 0 and frechet(constant, constant + 1).value == 3
