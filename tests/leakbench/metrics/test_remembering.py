"""FLD and its gap, authenticity, C_T and the Vendi score: what is known of copies and of unseen images, and sizes."""

from __future__ import annotations

from math import e, log, pi

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import mannwhitneyu, multivariate_normal

from leakbench.metrics import feature_likelihood as fl
from leakbench.metrics.authenticity import authenticity
from leakbench.metrics.copying_test import copying_test
from leakbench.metrics.evaluate.asked_quality import MEASURES, evaluate_asked_quality
from leakbench.metrics.feature_likelihood import feature_likelihood
from leakbench.metrics.vendi import vendi

EXCESS = {
    "likelihood": lambda *sides: feature_likelihood(*sides).excess,
    "authentic": lambda *sides: authenticity(*sides).excess,
    "copying_test": copying_test,
}


def draw(seed: int, n: int, width: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def features(law: str, n: int, width: int, generator: torch.Generator) -> torch.Tensor:
    x = torch.randn(n, width, generator=generator) * torch.linspace(1, 0.2, width)
    if law == "clusters":
        which = torch.randint(0, min(width, 5), (n,), generator=generator)
        return 0.3 * x + 3 * torch.nn.functional.one_hot(which, width)
    return (x + 0.2).clamp(min=0) + 1e-3 if law == "cut" else x


def off_zero(name: str, law: str, width: int, n: int, samples: int, repetitions: int) -> tuple[float, float]:
    """How often an interval lies below 0, and above 0, of samples that remember nothing."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(repetitions):
        sizes = (samples, n, n)
        found.append(EXCESS[name](*(features(law, size, width, generator) for size in sizes)))
    return float(np.mean([one.high < 0 for one in found])), float(np.mean([one.low > 0 for one in found]))


def test_copies_are_seen_by_all_three():
    train, heldout = draw(0, 120, 6), draw(1, 120, 6)
    copied, fresh = train + 1e-3 * draw(2, 120, 6), draw(3, 120, 6)
    likelihood, plain = feature_likelihood(copied, train, heldout), feature_likelihood(fresh, train, heldout)
    assert likelihood.gap.value < -300 and likelihood.excess.high < 0 and likelihood.divergence.value > 100
    assert abs(plain.excess.value) < 20 and plain.excess.low < 0 < plain.excess.high
    copies, other = authenticity(copied, train, heldout), authenticity(fresh, train, heldout)
    assert copies.value.value == 0 and copies.excess.high < -0.3
    assert other.value.value == pytest.approx(0.5, abs=0.15) and other.excess.low < 0 < other.excess.high
    assert copying_test(copied, train, heldout).high < -3 and abs(copying_test(fresh, train, heldout).value) < 3


def test_few_copies_among_many_samples_are_seen_too():
    train, heldout = draw(4, 200, 8), draw(5, 200, 8)
    some = torch.cat([train[:30], draw(6, 170, 8)])
    assert feature_likelihood(some, train, heldout).excess.high < 0
    assert authenticity(some, train, heldout).excess.high < 0


def test_exact_copies_leave_everything_finite():
    train, heldout = draw(0, 60, 5), draw(1, 60, 5)
    found = feature_likelihood(train, train, heldout)
    assert all(np.isfinite([one.value, one.low, one.high]).all() for one in (found.gap, found.excess, found.null))
    assert found.gap.value < -1000
    assert copying_test(train, train, heldout).high < -3
    assert authenticity(train, train, heldout).value.low == 0


def test_the_likelihood_is_a_mixture_s():
    centres, images, s = draw(7, 5, 3).double(), draw(8, 40, 3).double(), draw(9, 5, 1)[:, 0].double()
    parts = [multivariate_normal(c, np.exp(v)).pdf(images) for c, v in zip(centres.numpy(), s.numpy(), strict=True)]
    expected = -100 / 3 * np.log(np.mean(parts, axis=0))
    assert fl._Mixture(centres, s).surprise(images).numpy() == pytest.approx(expected)


def test_variances_are_those_that_make_the_images_likely(monkeypatch):
    """The slope is the derivative, and the fit, where it is not ended as early as published, finds the best."""
    monkeypatch.setattr(fl, "_PASSES", 400)
    monkeypatch.setattr(fl, "_WITHIN", 0.0)
    centres, images = draw(7, 4, 3).double(), draw(8, 60, 3).double()
    squares = torch.cdist(images, centres).square()
    s = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    value, slope = fl._loss_and_slope(squares, s.detach(), 3)
    loss = -(-squares / (2 * s.exp()) - 1.5 * (s + log(2 * pi)) - log(4)).logsumexp(dim=1).mean() / 3
    loss.backward()
    assert value == pytest.approx(loss.item()) and slope.numpy() == pytest.approx(s.grad.numpy())
    fitted = fl._fit(centres, images).log_variances
    with_mean = torch.cat([squares, 0.81 * (images - images.mean(0)).square().sum(1, keepdim=True)], dim=1)
    best = minimize(lambda x: loss_at(with_mean, x), np.zeros(5), method="L-BFGS-B", bounds=[(-40, 40)] * 5)
    assert fitted.numpy() == pytest.approx(best.x[:-1], abs=1e-3)


def loss_at(squares: torch.Tensor, s: list[float]) -> float:
    return fl._loss_and_slope(squares, torch.tensor(s, dtype=torch.float64), 3)[0]


def test_authenticity_by_hand():
    train = torch.tensor([[0.0], [1.0], [3.0], [10.0]])  # nearest neighbours at 1, 1, 2, 7
    samples = torch.tensor([[-0.5], [-2.0], [2.5], [5.0], [11.0]])  # at 0.5, 2, 0.5, 2, 1 from 0, 0, 3, 3, 10
    found = authenticity(samples, train, train + 100.0)
    assert found.value.value == pytest.approx(1 / 5) and found.value.n == 5  # that at -2: 2 is not above 2
    assert found.null.value == 1 and found.excess.value == pytest.approx(-4 / 5)


def test_c_t_of_one_cell_is_the_z_of_mann_and_whitney(monkeypatch):
    monkeypatch.setattr("leakbench.metrics.copying_test._CELLS", 1)
    samples, train, heldout = draw(0, 90, 3) * 0.7, draw(1, 70, 3), draw(2, 60, 3)
    distances = [torch.cdist(one, train).amin(dim=1).numpy() for one in (samples, heldout)]
    u = mannwhitneyu(*distances).statistic
    expected = (u - (90 * 60 / 2 - 0.5)) / np.sqrt(90 * 60 * 151 / 12)
    found = copying_test(samples, train, heldout)
    assert found.value == pytest.approx(expected, rel=1e-6) and found.low < found.value < found.high


def test_c_t_needs_more_than_twenty_samples_in_a_cell():
    assert copying_test(draw(0, 20, 3), draw(1, 50, 3), draw(2, 50, 3)) is None


def test_vendi_scores_that_are_known():
    assert vendi(torch.ones(7, 3)).value == pytest.approx(1)
    assert vendi(torch.eye(6)).value == pytest.approx(6)
    two = vendi(torch.eye(2).repeat_interleave(torch.tensor([3, 1]), dim=0) * 5)
    assert two.value == pytest.approx(e ** -(0.75 * log(0.75) + 0.25 * log(0.25)))
    with pytest.raises(ValueError, match="all zero"):
        vendi(torch.zeros(3, 2))


def test_the_shares_behind_a_vendi_interval_are_derivatives():
    x = torch.nn.functional.normalize(draw(3, 12, 4).double())

    def score(weights: torch.Tensor) -> float:
        values = torch.linalg.eigvalsh((x * weights[:, None]).T @ x / weights.sum())
        return float((-values * values.log()).sum().exp())

    step, ones = 1e-5, torch.ones(12, dtype=torch.float64)
    slopes = [(score(ones + step * one) - score(ones - step * one)) / (2 * step) for one in torch.eye(12).double()]
    found = vendi(x)
    assert found.high - found.value == pytest.approx(1.96 * np.sqrt(np.square(slopes).sum()), rel=1e-5)


def test_measures_that_lack_images_are_left_out_and_said_to_be():
    sides = draw(0, 60, 20), draw(1, 30, 20), draw(2, 40, 20)
    found = evaluate_asked_quality(MEASURES, *sides)
    assert found.flags == {"too-few-images"} and found.info == {"left_out": ["fd_infinity"]}
    sizes = {one.name: one.n for one in found.metrics}
    assert sizes["fld"] == 30 and sizes["vendi"] == sizes["vendi_real"] == 40 and sizes["authenticity"] == 60
    assert not evaluate_asked_quality(MEASURES, *(one[:9] for one in sides)).metrics


@pytest.mark.parametrize(("name", "repetitions"), [("likelihood", 12), ("authentic", 40), ("copying_test", 25)])
def test_samples_that_remember_nothing_are_seldom_said_to(name, repetitions):
    below, above = off_zero(name, "normal", 4, 80, 100, repetitions)
    assert below + above <= 0.17


@pytest.mark.parametrize("width", [4, 16])
def test_vendi_intervals_cover_the_score_at_that_number(width):
    assert covered_by_vendi("cut", 80, width, 150) >= 0.88


def covered_by_vendi(law: str, n: int, width: int, repetitions: int) -> float:
    generator = torch.Generator().manual_seed(2)
    found = [vendi(features(law, n, width, generator)) for _ in range(repetitions)]
    truth = np.mean([one.value for one in found])
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "cut", "clusters"])
@pytest.mark.parametrize(("width", "n", "samples"), [(2, 80, 100), (8, 200, 1000), (32, 300, 500)])
@pytest.mark.parametrize("name", ["authentic", "copying_test", "likelihood"])
def test_sizes_are_what_the_docstrings_say(name, width, n, samples, law):
    repetitions = 60 if name == "likelihood" else 400
    below, above = off_zero(name, law, width, n, samples, repetitions)
    print(name, law, width, n, samples, below, above)
    assert below + above <= (0.12 if name == "likelihood" else 0.09)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "cut", "clusters"])
@pytest.mark.parametrize(("width", "n"), [(4, 60), (16, 200), (64, 100), (64, 500)])
def test_vendi_coverage_is_what_the_docstring_says(law, width, n):
    covered = covered_by_vendi(law, n, width, 300)
    print(law, width, n, covered)
    assert 0.87 <= covered <= 0.99
