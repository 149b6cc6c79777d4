"""Frechet distance, KID, precision and recall beside closed forms, brute force and other people's implementations."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from leakbench.metrics.evaluate.asked_quality import evaluate_asked_quality
from leakbench.metrics.frechet_distance import frechet_distance, moments
from leakbench.metrics.quality import frechet, kid, precision_recall
from leakbench.metrics.random_order import pick, random_order
from leakbench.statistics import Estimate


def draw(seed: int, n: int, width: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) * scale + shift


def test_frechet_compares_equal_numbers():
    small, large = draw(7, 100, 8), draw(8, 950, 8)
    mixed = large[random_order(950)]
    blocks = [frechet_distance(moments(small), moments(mixed[i * 100 : (i + 1) * 100])) for i in range(4)]
    estimate = frechet(large, small)
    assert estimate == frechet(small, large)
    assert estimate.value == pytest.approx(np.mean(blocks), rel=1e-9) and estimate.n == 100
    assert frechet(small, large[:199]) == frechet(small, large[random_order(199)[:100]])


def test_frechet_at_a_number_below_both_sides_averages_over_blocks_of_both():
    a, b = draw(7, 230, 8), draw(8, 950, 8)
    pairs = [(0, 0), (100, 100), (0, 200), (100, 300)]
    ours, theirs = a[random_order(230)], b[random_order(950)]
    values = [frechet_distance(moments(ours[i : i + 100]), moments(theirs[j : j + 100])) for i, j in pairs]
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
        covered, width = coverage([distance(x, y) for x, y in pairs])
        assert 0.89 <= covered <= most
        assert width == pytest.approx(1.0 if shift else 2**0.5, rel=0.2) or distance is kid


@pytest.mark.parametrize(("shift", "wide"), [(0.0, 2**0.5), (0.4, 1.05)])
def test_intervals_over_blocks_cover_too(shift, wide):
    pairs = [(draw(2 * i, 60, 6), draw(2 * i + 1, 250, 6, shift)) for i in range(100)]
    covered, width = coverage([frechet(x, y) for x, y in pairs])
    assert 0.89 <= covered <= 1 and width == pytest.approx(wide, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "width"), [(100, 8), (500, 8), (1000, 8), (100, 32), (200, 64), (40, 64), (100, 128)])
def test_intervals_cover_what_the_docstring_says(n, width):
    """Laws that are equal, shifted, wider, with heavy tails, and cut at zero as features of a network are."""
    falling = torch.linspace(1, 0.1, width)
    generator = torch.Generator().manual_seed(1)

    def features(law: str, side: int) -> torch.Tensor:
        x = torch.randn(n, width, generator=generator) * falling
        if law == "shifted":
            return x + 0.5 * side * (torch.arange(width) < 4)
        if law == "wider":
            return x * (1 + 0.5 * side)
        if law == "heavy tails":
            return x * (torch.rand(n, 1, generator=generator) + 0.2).rsqrt() * (1 + 0.3 * side)
        return (x + 0.3 * side).clamp(min=0) if law == "cut" else x

    for law in ("equal", "shifted", "wider", "heavy tails", "cut"):
        covered, wide = coverage([frechet(features(law, 1), features(law, 0)) for _ in range(300)])
        assert 0.9 <= covered <= 1 and 0.85 <= wide <= 1.6, law


def coverage(estimates: list[Estimate]) -> tuple[float, float]:
    """The share of intervals that hold the mean of all values, and their width over what 95 % would take."""
    values = np.array([one.value for one in estimates])
    covered = np.mean([one.low <= values.mean() <= one.high for one in estimates])
    return float(covered), float(np.mean([one.high - one.value for one in estimates]) / (1.96 * values.std(ddof=1)))


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
    ours, theirs = samples.double().numpy(), real[random_order(170)[:150]].double().numpy()

    def share(points: np.ndarray, centres: np.ndarray) -> float:
        radius = np.sort(cdist(centres, centres), axis=1)[:, 3]
        return float((cdist(points, centres) <= radius).any(axis=1).mean())

    assert precision.value == share(ours, theirs) and recall.value == share(theirs, ours)
    assert precision.value > recall.value + 0.3  # narrow samples are all realistic and miss the rim
    assert recall.low < recall.value < recall.high and precision.n == 150


def test_real_images_that_are_sorted_by_class_are_cut_at_random():
    """Half of the real images and of the samples are of another class; the first 100 sorted ones are of one."""
    real, samples = draw(18, 400, 4), draw(19, 100, 4)
    real[200:] += 20
    samples[::2] += 20
    precision, recall = precision_recall(samples, real)
    assert precision.value > 0.8 and recall.value > 0.8
    assert frechet(samples, real).value < 0.05 * frechet(samples, real[:100]).value
    found = {one.name: one.value for one in evaluate_asked_quality(["vendi"], samples, real, real).metrics}
    assert found["vendi_real"] == pytest.approx(found["vendi"], rel=0.2)
    assert frechet(samples, real, 40).value < 0.1 * frechet(samples, real[:100], 40).value


def test_the_order_of_rows_holds_each_once():
    assert random_order(1000).sort().values.tolist() == list(range(1000))
    assert (random_order(1000)[:500] < 500).float().mean() == pytest.approx(0.5, abs=0.07)
    rows = torch.arange(10)
    assert pick(rows, 10).tolist() == list(range(10)) and len(set(pick(rows, 4).tolist())) == 4


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
