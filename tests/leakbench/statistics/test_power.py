"""Planning an AUC: inverses of their forward functions, and kept promises in simulation with the real interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from leakbench.statistics import auc, auc_half_width, auc_images, auc_images_to_see, smallest_detectable_auc
from leakbench.statistics.power import hanley_mcneil, least


def test_standard_errors_of_the_reference_page():
    # At AUC .5: n = 1000, 2500, 25000; at .88 likewise.
    assert [round(hanley_mcneil(0.5, n), 4) for n in (1000, 2500, 25000)] == [0.0129, 0.0082, 0.0026]
    assert [round(hanley_mcneil(0.88, n), 4) for n in (1000, 2500, 25000)] == [0.0078, 0.0049, 0.0016]


@pytest.mark.parametrize("area", [0.2, 0.5, 0.9])
def test_standard_error_of_one_image_a_side_is_a_coins(area):
    assert hanley_mcneil(area, 1) == pytest.approx(np.sqrt(area * (1 - area)))


def test_standard_error_of_two_sizes_is_the_spread_of_exponential_scores():
    """The formula is exact for exponential scores of two rates; it tells members from nonmembers, and of equal sizes
    is that of one."""
    rng = np.random.default_rng(0)
    for m, n in ((3, 20), (20, 3)):
        members, nonmembers = rng.exponential(4, (20_000, m, 1)), rng.exponential(1, (20_000, 1, n))
        spread = (members > nonmembers).mean(axis=(1, 2)).std()
        assert hanley_mcneil(0.8, m, n) == pytest.approx(spread, rel=0.02)
    assert hanley_mcneil(0.8, 7, 7) == hanley_mcneil(0.8, 7)
    with pytest.raises(ValueError, match="at least 1"):
        hanley_mcneil(0.8, 7, 0)


@given(st.floats(0.02, 0.98), st.floats(0.003, 0.3))
def test_images_are_the_inverse_of_the_half_width(area, half_width):
    n = auc_images(area, half_width)
    assert auc_half_width(area, n) <= half_width
    assert n == 1 or auc_half_width(area, n - 1) > half_width


@given(st.floats(0.505, 0.999))
def test_images_to_see_are_the_inverse_of_the_smallest_that_is_seen(area):
    n = auc_images_to_see(area)
    assert smallest_detectable_auc(n) <= area
    assert n == 1 or smallest_detectable_auc(n - 1) > area


@pytest.mark.parametrize("area", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("half_width", [0.05, 0.02])
def test_intervals_come_out_as_wide_as_was_planned(area, half_width):
    rng = np.random.default_rng(0)
    n = auc_images(area, half_width)
    shift = norm.ppf(area) * np.sqrt(2)
    found = [auc(rng.normal(shift, 1, n), rng.normal(size=n)) for _ in range(60)]
    assert np.mean([(one.high - one.low) / 2 for one in found]) == pytest.approx(half_width, rel=0.06)


def test_level_widens():
    assert auc_half_width(0.6, 100, 0.99) > auc_half_width(0.6, 100) > auc_half_width(0.6, 100, 0.5)
    assert auc_images(0.6, 0.02, 0.99) > auc_images(0.6, 0.02)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_least_is_found_from_where_it_starts(wanted, start):
    assert least(lambda n: n >= wanted, start) == max(wanted, start)


@pytest.mark.parametrize(
    "call",
    [
        lambda: auc_half_width(1.0, 100),
        lambda: auc_half_width(0.6, 0),
        lambda: auc_images(0.6, 0.0),
        lambda: auc_images(0.0, 0.1),
        lambda: auc_images_to_see(0.5),
        lambda: auc_images_to_see(1.0),
        lambda: smallest_detectable_auc(0),
    ],
)
def test_refuses_nonsense(call):
    with pytest.raises(ValueError):
        call()
