"""One metric over seeds: every source of uncertainty is in the interval, and two seeds are not a standard deviation.

Run as a program, it prints the coverage of the module's docstring:
    OMP_NUM_THREADS=1 python tests/leakbench/statistics/test_seeds.py
"""

from __future__ import annotations

from math import hypot

import numpy as np
import pytest

from leakbench.statistics import Estimate, Summary, over_seeds


def around(value, half=0.1):
    return Estimate(value, value - half, value + half, 100)


def coverage(seeds, within, between, shared, repetitions, rng_seed=0):
    """Of a mean of 0, where runs differ by training (`between`) and by images (`within`), which they share or not."""
    rng = np.random.default_rng(rng_seed)
    covered = 0
    for _ in range(repetitions):
        images = within * (rng.normal() if shared else rng.normal(size=seeds))
        values = images + between * rng.normal(size=seeds)
        found = over_seeds([around(value, 1.959964 * within) for value in values])
        covered += found.low <= 0 <= found.high
    return covered / repetitions


def test_one_seed_is_that_run():
    expected = Summary(mean=0.7, low=0.6, high=0.75, minimum=0.7, maximum=0.7, seeds=1)
    assert over_seeds([Estimate(0.7, 0.6, 0.75, 300)]) == expected


def test_two_seeds_are_shown_as_their_envelope():
    found = over_seeds([Estimate(0.7, 0.65, 0.74, 300), Estimate(0.6, 0.5, 0.66, 300)])
    assert (found.low, found.high, found.minimum, found.maximum, found.seeds) == (0.5, 0.74, 0.6, 0.7, 2)
    assert found.mean == pytest.approx(0.65)


def test_three_seeds_written_out():
    found = over_seeds([Estimate(0.6, 0.5, 0.65, 9), Estimate(0.7, 0.6, 0.75, 9), Estimate(0.8, 0.7, 0.85, 9)])
    between = 4.302653 * 0.1 / np.sqrt(3)  # Student's t with two degrees of freedom, standard deviation .1
    assert found.mean == pytest.approx(0.7)
    assert found.low == pytest.approx(0.7 - hypot(0.1, between), abs=1e-6)
    assert found.high == pytest.approx(0.7 + hypot(0.05, between), abs=1e-6)


def test_equal_seeds_do_not_shrink_the_error_of_shared_images():
    found = over_seeds([around(0.7)] * 10)
    assert (found.low, found.high) == (pytest.approx(0.6), pytest.approx(0.8))


@pytest.mark.parametrize(("within", "between"), [(1.0, 0.2), (1.0, 1.0), (0.2, 1.0), (0.01, 1.0)])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("shared", [True, False])
def test_coverage_from_three_seeds(seeds, within, between, shared):
    assert coverage(seeds, within, between, shared, 800) >= 0.935


def test_order_of_seeds_does_not_matter():
    estimates = [around(value) for value in (0.5, 0.9, 0.6, 0.7)]
    one, other = over_seeds(estimates), over_seeds(estimates[::-1])
    np.testing.assert_allclose([one.mean, one.low, one.high], [other.mean, other.low, other.high])


def test_bounds_cut_the_interval_but_nothing_else():
    found = over_seeds([around(value) for value in (0.9, 0.95, 1.0)], bounds=(0, 1))
    assert found.high == 1
    assert found.low == over_seeds([around(value) for value in (0.9, 0.95, 1.0)]).low


def test_needs_a_seed():
    with pytest.raises(ValueError, match="no seed"):
        over_seeds([])


if __name__ == "__main__":
    for shared in (True, False):
        for seeds in (2, 3, 5, 10):
            rows = [(w, b, coverage(seeds, w, b, shared, 5000)) for w, b in ((1, 0.2), (1, 1), (0.2, 1), (0.01, 1))]
            print("shared images" if shared else "own images", seeds, *(f"{w}:{b} {share:.3f}" for w, b, share in rows))
