"""AUC and DeLong against scikit-learn, pair counting, the reference page, and coverage by simulation.

Run as a program, it prints the table of the module's docstring:
    OMP_NUM_THREADS=1 python tests/leakbench/statistics/test_auc.py
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from leakbench.statistics import auc, auc_p_value, delong_pair

few_values = st.lists(st.integers(-4, 4), min_size=2, max_size=25).map(lambda v: np.array(v, dtype=float))
many_values = st.lists(st.integers(-1000, 1000), min_size=2, max_size=25).map(lambda v: np.array(v, dtype=float))
scores = st.one_of(few_values, many_values)


def binormal(rng, n, area):
    return rng.normal(ndtri(area) * np.sqrt(2), 1, n), rng.normal(size=n)


def forgetful(rng, n, area):
    """Most members far above every nonmember, a few like nonmembers: the AUC rests on rare images."""
    return np.where(rng.random(n) < 2 * (1 - area), 0, 20) + rng.normal(size=n), rng.normal(size=n)


def auc_coverage(draw, n, area, repetitions, seed=0):
    rng = np.random.default_rng(seed)
    found = [auc(*draw(rng, n, area)) for _ in range(repetitions)]
    return np.mean([estimate.low <= area <= estimate.high for estimate in found])


@given(scores, scores)
def test_value_by_counting_pairs_and_by_scikit_learn(member, nonmember):
    pairs = np.sign(member[:, None] - nonmember)
    labels = np.r_[np.ones(member.size), np.zeros(nonmember.size)]
    value = auc(member, nonmember).value
    assert value == pytest.approx((pairs.mean() + 1) / 2, abs=1e-12)
    assert value == pytest.approx(roc_auc_score(labels, np.r_[member, nonmember]), abs=1e-12)


@given(scores, scores)
def test_interval_holds_the_value_within_the_range(member, nonmember):
    found = auc(member, nonmember)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high > found.low
    assert found.n == min(member.size, nonmember.size)


@given(scores, scores)
def test_swapping_the_classes_mirrors_value_and_interval(member, nonmember):
    one, other = auc(member, nonmember), auc(nonmember, member)
    mirrored = [1 - other.value, 1 - other.high, 1 - other.low]
    np.testing.assert_allclose([one.value, one.low, one.high], mirrored, atol=1e-9)


@given(scores, scores, st.randoms(use_true_random=False))
def test_monotone_transforms_and_order_change_nothing(member, nonmember, random):
    moved = auc(random.sample(list(member**3), member.size), random.sample(list(nonmember**3), nonmember.size))
    found = auc(member, nonmember)
    np.testing.assert_allclose([moved.value, moved.low, moved.high], [found.value, found.low, found.high], atol=1e-9)


def test_standard_error_is_delongs():
    # DeLong's variance written out from the kernel matrix, from which the logit interval follows.
    rng = np.random.default_rng(3)
    member, nonmember = rng.integers(0, 12, 80) + 2.0, rng.integers(0, 12, 50) * 1.0
    kernel = (np.sign(member[:, None] - nonmember) + 1) / 2
    error = np.sqrt(kernel.mean(1).var(ddof=1) / 80 + kernel.mean(0).var(ddof=1) / 50)
    value = kernel.mean()
    half = norm.isf(0.025) * error / (value * (1 - value))
    expected = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-half, half]))))
    found = auc(member, nonmember)
    np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9)


@pytest.mark.parametrize(("area", "n", "error"), [(0.5, 1000, 0.0129), (0.5, 2500, 0.0082), (0.88, 1000, 0.0078)])
def test_width_has_the_magnitude_of_hanley_and_mcneil(area, n, error):
    found = auc(*binormal(np.random.default_rng(1), n, area))
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(error, rel=0.08)


def test_perfect_separation_is_no_certainty():
    above, below = np.arange(300) + 1000, np.arange(300)
    bound = 0.025 ** (1 / 300)
    best, worst = auc(above, below), auc(below, above)
    assert (best.value, best.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert best.low == pytest.approx(bound)
    assert worst.high == pytest.approx(1 - bound)


def test_constant_scores_are_an_interval_around_one_half():
    found = auc(np.zeros(50), np.zeros(70))
    assert found.low < found.value == 0.5 < found.high


def test_huge_scores_do_not_overflow():
    assert auc([1e308, 1e308], [-1e308, -1e308]).value == 1


@pytest.mark.parametrize(
    ("draw", "n", "area", "least", "most"),
    [
        (binormal, 30, 0.7, 0.935, 0.975),
        (binormal, 300, 0.5, 0.935, 0.965),
        (binormal, 300, 0.9, 0.935, 0.965),
        (binormal, 300, 0.99, 0.93, 0.985),
        (binormal, 300, 0.9999, 0.96, 1.0),
        (forgetful, 300, 0.9985, 0.94, 1.0),
    ],
)
def test_coverage(draw, n, area, least, most):
    assert least <= auc_coverage(draw, n, area, 2000) <= most


def test_coverage_follows_the_level():
    rng = np.random.default_rng(0)
    found = [auc(*binormal(rng, 100, 0.8), level=0.7) for _ in range(1500)]
    assert np.mean([estimate.low <= 0.8 <= estimate.high for estimate in found]) == pytest.approx(0.7, abs=0.035)


@pytest.mark.parametrize(("member", "nonmember"), [([1], [0, 1]), ([1, 2], [0]), ([np.nan, 1], [0, 1])])
def test_refuses_too_few_or_no_numbers(member, nonmember):
    with pytest.raises(ValueError):
        auc(member, nonmember)


@given(scores, scores)
def test_p_value_is_where_the_interval_begins_to_hold_one_half(member, nonmember):
    p = auc_p_value(member, nonmember)
    assert 0 < p <= 1
    if p < 0.98:
        outside = auc(member, nonmember, level=1 - p * 1.01)
        assert outside.low > 0.5 or outside.high < 0.5
    if p > 1e-9:
        inside = auc(member, nonmember, level=1 - p * 0.99)
        assert inside.low <= 0.5 <= inside.high


def test_p_value_of_perfect_separation_is_the_binomials():
    above, below = np.arange(20) + 100, np.arange(30)
    assert auc_p_value(above, below) == auc_p_value(below, above) == 2 * 0.5**20
    assert auc_p_value(np.ones(5), np.ones(5)) == 1


def test_p_value_is_delongs_where_images_are_many():
    rng = np.random.default_rng(0)
    member, nonmember = rng.normal(0.1, 1, 1000), rng.normal(size=1000)
    kernel = (member[:, None] > nonmember).astype(float)
    error = np.sqrt(kernel.mean(1).var(ddof=1) / 1000 + kernel.mean(0).var(ddof=1) / 1000)
    assert auc_p_value(member, nonmember) == pytest.approx(2 * norm.sf(abs(kernel.mean() - 0.5) / error), rel=0.02)


@pytest.mark.parametrize("n", [20, 300])
def test_useless_attacks_have_even_p_values(n):
    rng = np.random.default_rng(0)
    found = np.array([auc_p_value(*rng.normal(size=(2, n))) for _ in range(2000)])
    assert np.mean(found < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(found < 0.5) == pytest.approx(0.5, abs=0.04)


def paired(rng, n, area_a, area_b, correlation):
    """Two attacks whose scores correlate image by image."""
    mix = np.linalg.cholesky([[1, correlation], [correlation, 1]])
    member, nonmember = (mix @ rng.normal(size=(2, n)) for _ in range(2))
    shift = ndtri([area_a, area_b]) * np.sqrt(2)
    return member[0] + shift[0], nonmember[0], member[1] + shift[1], nonmember[1]


def pair_results(n, area_a, area_b, correlation, repetitions, seed=0):
    """Coverage of the interval, and the share of p values below 5 %."""
    rng = np.random.default_rng(seed)
    found = [delong_pair(*paired(rng, n, area_a, area_b, correlation)) for _ in range(repetitions)]
    covered = [pair.difference.low <= area_a - area_b <= pair.difference.high for pair in found]
    return np.mean(covered), np.mean([pair.p_value < 0.05 for pair in found])


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_pair_covers_and_keeps_its_error_rate(correlation):
    covered, rejected = pair_results(200, 0.7, 0.7, correlation, 1500)
    assert 0.93 <= covered <= 0.97
    assert rejected == pytest.approx(1 - covered, abs=1e-9)


def test_pairing_gains_power_and_covers_a_true_difference():
    covered, power = pair_results(200, 0.75, 0.7, 0.9, 600)
    assert covered >= 0.93
    assert power > 0.6
    assert pair_results(200, 0.75, 0.7, 0.0, 600)[1] < power / 2


def test_pair_variance_is_delongs():
    rng = np.random.default_rng(5)
    member_a, nonmember_a, member_b, nonmember_b = paired(rng, 60, 0.8, 0.7, 0.5)
    kernel = (member_a[:, None] > nonmember_a).astype(float) - (member_b[:, None] > nonmember_b)
    error = np.sqrt(kernel.mean(1).var(ddof=1) / 60 + kernel.mean(0).var(ddof=1) / 60)
    found = delong_pair(member_a, nonmember_a, member_b, nonmember_b)
    assert found.difference.value == pytest.approx(kernel.mean())
    assert found.difference.high - found.difference.low == pytest.approx(2 * norm.isf(0.025) * error)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(kernel.mean()) / error))


@given(scores, scores)
def test_an_attack_does_not_differ_from_its_monotone_transform(member, nonmember):
    found = delong_pair(member, nonmember, member**3, nonmember**3)
    assert found.p_value == 1
    assert found.difference.low < found.difference.value == 0 < found.difference.high


def test_perfect_against_inverted_is_told_apart():
    above, below = np.arange(20) + 100, np.arange(20)
    found = delong_pair(above, below, below, above)
    assert (found.difference.value, found.difference.high) == (1, 1)
    assert found.difference.low == pytest.approx(2 * 0.025 ** (1 / 20) - 1)
    assert found.p_value == pytest.approx(2.0**-19)


def test_pair_changes_sign_with_the_order():
    a = paired(np.random.default_rng(2), 50, 0.8, 0.6, 0.5)
    one, other = delong_pair(*a), delong_pair(a[2], a[3], a[0], a[1])
    assert one.p_value == other.p_value
    assert (one.difference.low, one.difference.high) == (-other.difference.high, -other.difference.low)


def test_pair_needs_the_same_images():
    with pytest.raises(ValueError, match="same images"):
        delong_pair([1, 2, 3], [0, 1], [1, 2], [0, 1])


def test_the_largest_of_useless_aucs_flatters_and_one_chosen_on_other_images_does_not():
    """Why the strongest attack is chosen on calibration images (docs/statistics.md has the numbers)."""
    rng = np.random.default_rng(0)
    honest, flattered = [], []
    for _ in range(150):
        reported, calibration = ([auc(*rng.normal(size=(2, 300))).value for _ in range(25)] for _ in range(2))
        honest.append(reported[int(np.argmax(np.abs(np.array(calibration) - 0.5)))])
        flattered.append(max(reported))
    assert np.mean(honest) == pytest.approx(0.5, abs=0.006)
    assert np.mean(flattered) == pytest.approx(0.545, abs=0.005)


if __name__ == "__main__":
    for draw in (binormal, forgetful):
        for n in (30, 100, 300, 1000):
            row = [(area, auc_coverage(draw, n, area, 4000)) for area in (0.5, 0.7, 0.9, 0.97, 0.99, 0.999, 0.9999)]
            print(draw.__name__, n, *(f"{area}: {share:.3f}" for area, share in row))
    for n in (100, 300):
        for areas in ((0.5, 0.5), (0.7, 0.7), (0.95, 0.95), (0.99, 0.99), (0.8, 0.7)):
            for correlation in (0.0, 0.5, 0.95):
                print("pair", n, areas, correlation, *pair_results(n, *areas, correlation, 4000))
