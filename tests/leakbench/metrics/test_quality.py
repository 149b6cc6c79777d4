"""Frechet distance, KID, precision and recall beside closed forms, brute force and other people's implementations."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from leakbench.metrics.quality import Moments, frechet, frechet_distance, kid, moments, precision_recall


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


def test_frechet_compares_equal_numbers():
    small, large = draw(7, 100, 8), draw(8, 950, 8)
    blocks = [frechet_distance(moments(small), moments(large[i * 100 : (i + 1) * 100])) for i in range(4)]
    estimate = frechet(large, small)
    assert estimate == frechet(small, large)
    assert estimate.value == pytest.approx(np.mean(blocks), rel=1e-9) and estimate.n == 100
    assert frechet(small, large[:199]) == frechet(small, large[:100])


def test_frechet_at_a_number_below_both_sides_averages_over_blocks_of_both():
    a, b = draw(7, 230, 8), draw(8, 950, 8)
    pairs = [(0, 0), (100, 100), (0, 200), (100, 300)]
    values = [frechet_distance(moments(a[i : i + 100]), moments(b[j : j + 100])) for i, j in pairs]
    estimate = frechet(a, b, 100)
    assert estimate == frechet(b, a, 100)
    assert estimate.value == pytest.approx(np.mean(values), rel=1e-9) and estimate.n == 100
    assert frechet(a, b, 230) == frechet(a, b)
    assert estimate.high - estimate.value < frechet(a[:100], b[:100]).high - frechet(a[:100], b[:100]).value
    with pytest.raises(ValueError, match="at 231 images a side, of which one has 230"):
        frechet(a, b, 231)


@pytest.mark.parametrize(("shift", "most"), [(0.0, 1.0), (0.5, 0.99)])
def test_intervals_cover_the_distance_at_that_number(shift, most):
    pairs = [(draw(2 * i, 120, 6), draw(2 * i + 1, 120, 6, shift)) for i in range(100)]
    for distance in (frechet, kid):
        estimates = [distance(x, y) for x, y in pairs]
        truth = np.mean([e.value for e in estimates])
        covered = np.mean([e.low <= truth <= e.high for e in estimates])
        assert 0.89 <= covered <= most


def test_kid_agrees_with_torchmetrics_and_clean_fid():
    from cleanfid.fid import kernel_distance
    from torchmetrics.image.kid import poly_mmd

    x, y = draw(9, 200, 24).double(), draw(10, 200, 24, shift=0.3).double()
    value = kid(x, y).value
    assert value == pytest.approx(poly_mmd(x, y).item(), rel=1e-4)
    assert value == pytest.approx(kernel_distance(x.numpy(), y.numpy(), 1, 200), rel=1e-4)


def test_kid_jackknife_leaves_one_out():
    x, y = draw(11, 12, 3), draw(12, 9, 3, shift=1.0)
    rest_x = [kid(torch.cat([x[:i], x[i + 1 :]]), y).value for i in range(12)]
    rest_y = [kid(x, torch.cat([y[:i], y[i + 1 :]])).value for i in range(9)]
    error = np.sqrt(11 * np.var(rest_x) + 8 * np.var(rest_y))
    estimate = kid(x, y)
    assert estimate.high - estimate.value == pytest.approx(1.96 * error, rel=1e-6)


def test_kid_is_unbiased_and_memory_is_bounded(monkeypatch):
    from leakbench.metrics import quality

    values = [kid(draw(2 * i, 30, 4), draw(2 * i + 1, 30, 4)).value for i in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)
    x, y = draw(13, 70, 4), draw(14, 50, 4)
    whole = kid(x, y)
    monkeypatch.setattr(quality, "_ROWS", 7)
    assert kid(x, y).value == pytest.approx(whole.value, abs=1e-12)


def test_precision_and_recall_by_brute_force():
    samples, real = draw(15, 150, 5, scale=0.6), draw(16, 170, 5)
    precision, recall = precision_recall(samples, real, k=3)
    ours, theirs = samples.double().numpy(), real[:150].double().numpy()

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        radius = np.sort(cdist(centres, centres), axis=1)[:, 3]
        return float((cdist(points, centres) <= radius).any(axis=1).mean())

    assert precision.value == share(ours, theirs) and recall.value == share(theirs, ours)
    assert precision.value > recall.value + 0.3  # narrow samples are all realistic and miss the rim
    assert recall.low < recall.value < recall.high and precision.n == 150


def test_precision_and_recall_at_the_extremes():
    x = draw(17, 50, 4)
    assert [e.value for e in precision_recall(x, x)] == [1.0, 1.0]
    assert [e.value for e in precision_recall(x, x + 1000)] == [0.0, 0.0]


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="two or more rows of finite features"):
        frechet(draw(0, 10, 2), draw(0, 1, 2))
    with pytest.raises(ValueError, match="two or more rows of finite features"):
        moments(torch.full((5, 2), torch.nan))
    with pytest.raises(ValueError, match="three images on each side"):
        kid(draw(0, 2, 2), draw(0, 9, 2))
    with pytest.raises(ValueError, match="k = 5 neighbours asked for among 5 images"):
        precision_recall(draw(0, 5, 2), draw(0, 9, 2))
