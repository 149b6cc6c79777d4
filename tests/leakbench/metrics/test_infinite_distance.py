"""The Frechet distance of infinitely many images beside closed forms, and how often its interval holds them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leakbench.metrics.frechet_distance import frechet_distance, moments
from leakbench.metrics.infinite_distance import frechet_infinite
from leakbench.metrics.quality import frechet
from leakbench.metrics.random_order import random_order

LAWS = ("equal", "shifted", "wider", "heavy tails", "cut")


def features(law: str, side: int, n: int, width: int, generator: torch.Generator) -> torch.Tensor:
    x = torch.randn(n, width, generator=generator) * torch.linspace(1, 0.1, width)
    if law == "shifted":
        return x + 0.5 * side * (torch.arange(width) < 4)
    if law == "wider":
        return x * (1 + 0.5 * side)
    if law == "heavy tails":
        return x * (torch.rand(n, 1, generator=generator) + 0.2).rsqrt() * (1 + 0.3 * side)
    return (x + 0.3 * side).clamp(min=0) if law == "cut" else x


def coverage(law: str, n: int, width: int, repetitions: int) -> tuple[float, float]:
    """How often the intervals of the extrapolated distance, and of the one at n, hold the distance of the laws."""
    generator = torch.Generator().manual_seed(1)
    many = (moments(features(law, side, 400_000, width, generator)) for side in (1, 0))
    truth = 0.0 if law == "equal" else frechet_distance(*many)
    inside = []
    for _ in range(repetitions):
        pair = features(law, 1, n, width, generator), features(law, 0, n, width, generator)
        found = frechet_infinite(*pair), frechet(*pair)
        inside.append([one.low <= truth <= one.high for one in found])
    shares = np.mean(inside, axis=0)
    return float(shares[0]), float(shares[1])


def test_two_gaussians_whose_distance_is_known():
    """32 dimensions, means 0.1 apart in each: 0.32, where a thousand images a side show more than twice as much."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(1000, 32, generator=generator) + 0.1, torch.randn(1000, 32, generator=generator)
    at_n, found = frechet(x, y), frechet_infinite(x, y)
    assert at_n.value > 0.64 and at_n.low > 0.32
    assert found.value == pytest.approx(0.32, abs=0.15) and found.low <= 0.32 <= found.high
    assert found == frechet_infinite(x, y) and found.n == 1000


def test_it_is_the_intercept_of_the_line_through_two_sizes():
    x, y = torch.randn(2, 80, 4, generator=torch.Generator().manual_seed(3))
    order = random_order(80)
    halves = np.mean([frechet(x[i], y[i]).value for i in (order[:40], order[40:])])
    slope = (halves - frechet(x, y).value) / (1 / 40 - 1 / 80)
    assert frechet_infinite(x, y).value == pytest.approx(frechet(x, y).value - slope / 80)


def test_nothing_is_extrapolated_from_fewer_than_five_images_a_feature():
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(2))
    assert frechet_infinite(x, x[:39]) is None and frechet_infinite(x[:40], x) is not None


@pytest.mark.parametrize(("law", "most_at_n"), [("equal", 0.0), ("cut", 0.8)])
def test_its_interval_holds_the_distance_of_the_laws_where_that_at_n_does_not(law, most_at_n):
    ours, at_n = coverage(law, 80, 16, 60)
    assert ours >= 0.88 and at_n <= most_at_n


@pytest.mark.slow
@pytest.mark.parametrize(("n", "width"), [(100, 8), (400, 8), (200, 32), (400, 32), (800, 32), (320, 64), (640, 64)])
def test_infinite_coverage_is_what_the_docstring_says(n, width):
    for law in LAWS:
        ours, at_n = coverage(law, n, width, 150)
        print(law, ours, at_n)
        assert 0.9 <= ours <= 1, law
