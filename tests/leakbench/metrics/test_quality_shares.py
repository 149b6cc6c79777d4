"""Shares in quality metrics beside numerical derivatives, and the paired test of two releases' distances."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from leakbench.metrics.evaluate.quality import evaluate_quality
from leakbench.metrics.quality import (
    frechet,
    frechet_with_shares,
    kid_with_shares,
    precision_recall_with_shares,
)
from leakbench.metrics.random_order import random_order
from leakbench.results.share_arrays import find_shares
from leakbench.statistics import independent_difference, paired_by_shares


def draw(seed: int, n: int, width: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) * scale + shift


def frechet_shares(samples: torch.Tensor, real: torch.Tensor, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    return frechet_with_shares(samples, real, n)[1]


def weighted_distance(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """The Frechet distance of y (n, D) and x with a weight on each row, n in all."""
    n = len(x)
    mean = weights @ x / n
    a, b = (x - mean) * np.sqrt(weights)[:, None], y - y.mean(axis=0)
    apart = np.square(mean - y.mean(axis=0)).sum()
    return float(apart + ((a * a).sum() + (b * b).sum() - 2 * np.linalg.svd(a @ b.T)[1].sum()) / (n - 1))


@pytest.mark.parametrize(("n", "width"), [(50, 6), (12, 30)])  # covariances of full rank, and singular ones
def test_frechet_shares_are_derivatives(n, width):
    x, y = draw(1, n, width).double(), draw(2, n, width, shift=0.3, scale=1.3).double()
    ours, theirs = frechet_shares(x, y)
    step, numbers = 1e-5, (x.numpy(), y.numpy())
    for shares, (a, b) in ((ours, numbers), (theirs, numbers[::-1])):
        for i in (0, n - 1):
            heavier, lighter = (np.full(n, 1 - d / n) + d * np.eye(n)[i] for d in (step, -step))
            slope = (weighted_distance(a, b, heavier) - weighted_distance(a, b, lighter)) / (2 * step)
            assert shares[i] == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_frechet_shares_follow_its_blocks():
    samples, real = draw(3, 95, 5), draw(4, 30, 5)
    ours, theirs = frechet_shares(samples, real)
    swapped = frechet_shares(real, samples)
    order = random_order(95)
    blocks = [frechet_shares(samples[order[i : i + 30]], real) for i in (0, 30, 60)]
    ours = ours[order]
    assert ours.shape == (95,) and not ours[90:].any() and theirs.shape == (30,)
    np.testing.assert_allclose(ours[30:60], blocks[1][0] / 3)
    np.testing.assert_allclose(theirs, np.mean([block[1] for block in blocks], axis=0), atol=1e-12)
    np.testing.assert_array_equal(swapped[0], theirs)


def test_frechet_shares_at_a_number_below_both_sides():
    samples, real = draw(3, 65, 5), draw(4, 95, 5)  # blocks 0 and 1 of the samples meet 0, 1, 2 of the real: 0, 1, 0
    ours, theirs = frechet_shares(samples, real, 30)
    x, y = random_order(65), random_order(95)
    pairs = [frechet_shares(samples[x[a : a + 30]], real[y[b : b + 30]]) for a, b in ((0, 0), (30, 30), (0, 60))]
    ours, theirs = ours[x], theirs[y]
    np.testing.assert_allclose(ours[:30], (pairs[0][0] + pairs[2][0]) / 3, atol=1e-12)
    np.testing.assert_allclose(ours[30:60], pairs[1][0] / 3, atol=1e-12)
    np.testing.assert_allclose(theirs[60:90], pairs[2][1] / 3, atol=1e-12)
    assert not ours[60:].any() and not theirs[90:].any()


def test_shares_of_the_other_metrics_have_their_errors():
    samples, real = draw(5, 60, 4, shift=0.4), draw(6, 50, 4)
    found, sides = kid_with_shares(samples, real)
    error = np.sqrt(sum((side**2).sum() for side in sides))
    assert 1.96 * error == pytest.approx(found.high - found.value, rel=1e-6)
    for rate, shares in precision_recall_with_shares(samples, real):
        assert (shares**2).sum() == pytest.approx(rate.value * (1 - rate.value) / 50)


def test_a_record_keeps_them_small():
    samples, train, heldout = draw(7, 40, 4), draw(8, 30, 4), draw(9, 20, 4)
    _, arrays = evaluate_quality(samples, train, heldout, partial(frechet, train, heldout), 0)
    sizes = {name: [len(one) for one in find_shares(arrays, name)] for name in ("frechet", "frechet_heldout", "kid")}
    assert sizes == {"frechet": [40, 30], "frechet_heldout": [40, 20], "kid": [40, 20]}
    assert [len(find_shares(arrays, name)) for name in ("precision", "recall", "lpips_nearest")] == [1, 1, 0]
    assert find_shares(arrays, "kid")[0].dtype == np.float32


def simulate(shifts, repetitions=150, n=100, width=8):
    """How often the distances of two releases, of the same seeds and against the same images, are told apart at 5 %."""
    generator, paired, apart = torch.Generator().manual_seed(0), [], []
    for _ in range(repetitions):
        real, shared = (torch.randn(n, width, generator=generator) for _ in range(2))
        releases = [0.9 * shared + 0.43 * torch.randn(n, width, generator=generator) + shift for shift in shifts]
        values = []
        for samples in releases:
            values.append(frechet_with_shares(samples, real))
        (a, of_a), (b, of_b) = values
        paired.append(paired_by_shares(a, b, of_a, of_b).p_value < 0.05)
        apart.append(independent_difference(a, b).p_value < 0.05)
    return np.mean(paired), np.mean(apart)


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_equal_distances_are_told_apart_in_five_of_a_hundred(shift):
    assert simulate((shift, shift))[0] <= 0.09


def test_a_distance_that_rose_is_seen_in_pairs_where_the_intervals_alone_do_not_show_it():
    paired, apart = simulate((0.2, 0.35))
    assert paired >= 0.9 and apart <= 0.5


def test_the_pair_of_a_release_with_itself():
    samples, real = draw(10, 50, 4), draw(11, 40, 4)
    value, shares = frechet_with_shares(samples, real)
    assert paired_by_shares(value, value, shares, shares).p_value == 1


def test_distances_that_stand_side_by_side_are_made_at_one_number_of_images():
    train, heldout, samples = draw(12, 40, 4), draw(13, 90, 4), draw(14, 120, 4)
    found, _ = evaluate_quality(samples, train, heldout, partial(frechet, train, heldout), 0)
    counts = {one.name: one.n for one in found.metrics if one.name.startswith("frechet")}
    assert counts == {"frechet": 40, "frechet_heldout": 40, "frechet_floor": 40}
    assert found.info["images_per_side"] == 40
