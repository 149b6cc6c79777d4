"""Verdicts are two-sided, their promises of power are kept, and the judges err as rarely as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from leakbench.statistics import (
    Estimate,
    auc,
    blind_invalid,
    family_wise,
    smallest_detectable_auc,
    smallest_detectable_tpr,
    tpr_at_fpr,
    tpr_verdict,
    verdict,
)


def test_leaks():
    found = verdict(Estimate(0.93, 0.91, 0.95, 300))
    assert (found.kind, found.words) == ("leaks", "leaks: AUC 0.93 [0.91, 0.95]")


def test_inverted_is_leakage_too():
    found = verdict(Estimate(0.3, 0.25, 0.35, 300))
    assert found.kind == "inverted"
    assert found.words == "leaks, inverted (members score lower): AUC 0.30 [0.25, 0.35]"


def test_none_says_what_it_would_have_seen():
    found = verdict(Estimate(0.49, 0.45, 0.53, 400))
    assert found.kind == "none"
    assert found.words == "no leak found: AUC 0.49 [0.45, 0.53] (an AUC of 0.56 would have been found)"


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.6), (0.4, 0.5)])
def test_a_bound_at_one_half_is_no_leak(low, high):
    assert verdict(Estimate(0.5, low, high, 300)).kind == "none"


def test_digits_never_put_a_bound_on_the_wrong_side():
    assert verdict(Estimate(0.504, 0.5012, 0.507, 25000)).words == "leaks: AUC 0.504 [0.501, 0.507]"
    assert "[0.480, 0.497]" in verdict(Estimate(0.49, 0.48, 0.497, 9000)).words


def test_smallest_detectable_is_hanley_mcneil():
    # Reference page: standard error .0129 at n = 1000, .0082 at 2500, .0026 at 25000.
    for n, error in ((1000, 0.0129), (2500, 0.0082), (25000, 0.0026)):
        assert smallest_detectable_auc(n) == pytest.approx(0.5 + (1.95996 + 0.84162) * error, abs=2e-4)
    assert smallest_detectable_auc(1) == 1
    with pytest.raises(ValueError):
        smallest_detectable_auc(0)


def test_what_would_have_been_seen_is_rounded_up():
    for n in (90, 400, 2500, 40000):
        promised = float(verdict(Estimate(0.5, 0.4, 0.6, n)).words.split()[-5])
        assert smallest_detectable_auc(n) <= promised < smallest_detectable_auc(n) + 0.01


def test_tpr_leaks():
    found = tpr_verdict(Estimate(0.34, 0.29, 0.39, 1000), 0.01, 1000)
    assert (found.kind, found.words) == ("leaks", "leaks: TPR 34 % at FPR 1 % [29, 39]")


def test_tpr_none_says_what_it_would_have_seen():
    found = tpr_verdict(Estimate(0.11, 0.07, 0.16, 300), 0.1, 300)
    least = 100 * smallest_detectable_tpr(0.1, 300, 300)
    assert found.kind == "none"
    assert found.words == "no leak found: TPR 11 % at FPR 10 % [7, 16] (a TPR of 20 % would have been found)"
    assert 19 < least <= 20


def test_tpr_that_nothing_could_show_says_so():
    found = tpr_verdict(Estimate(0.2, 0.0, 0.6, 300), 0.001, 300)
    assert found.kind == "none"
    assert found.words == "no leak found: TPR 20 % at FPR 0.1 % [0, 60] (300 nonmembers are too few to find any)"


@pytest.mark.parametrize(
    ("low", "value", "high", "target", "words"),
    [
        (0.0093, 0.0101, 0.0108, 0.01, "TPR 1.0 % at FPR 1 % [0.9, 1.1]"),
        (0.0104, 0.013, 0.016, 0.01, "TPR 1.30 % at FPR 1 % [1.04, 1.60]"),
        (0.0, 0.001, 0.0012, 0.001, "TPR 0.10 % at FPR 0.1 % [0.00, 0.12]"),
        (0.1, 0.12, 0.14, 0.1, "TPR 12 % at FPR 10 % [10, 14]"),
    ],
)
def test_digits_never_put_a_bound_of_a_tpr_on_the_wrong_side(low, value, high, target, words):
    assert words in tpr_verdict(Estimate(value, low, high, 25000), target, 25000).words


def test_a_tpr_bound_at_the_target_is_no_leak():
    assert tpr_verdict(Estimate(0.12, 0.1, 0.14, 1000), 0.1, 1000).kind == "none"


def test_a_tpr_below_the_target_is_not_called_a_leak():
    assert tpr_verdict(Estimate(0.01, 0.0, 0.02, 1000), 0.1, 1000).kind == "none"


@pytest.mark.parametrize(("n", "target"), [(300, 0.1), (1000, 0.01)])
def test_useless_attacks_rarely_have_a_tpr_that_leaks(n, target):
    rng = np.random.default_rng(0)
    found = [tpr_verdict(tpr_at_fpr(*rng.normal(size=(2, n)), target).estimate, target, n) for _ in range(500)]
    assert np.mean([one.kind == "leaks" for one in found]) <= 0.03


@pytest.mark.parametrize(("members", "nonmembers", "target"), [(0, 10, 0.1), (10, 0, 0.1), (10, 10, 0), (10, 10, 1)])
def test_tpr_verdict_refuses_nonsense(members, nonmembers, target):
    with pytest.raises(ValueError):
        tpr_verdict(Estimate(0.5, 0.4, 0.6, members), target, nonmembers)


@pytest.mark.parametrize("n", [100, 300])
def test_power_is_what_the_words_promise(n):
    rng = np.random.default_rng(0)
    shift = norm.ppf(smallest_detectable_auc(n)) * np.sqrt(2)
    seen = [verdict(auc(rng.normal(shift, 1, n), rng.normal(size=n))).kind == "leaks" for _ in range(1000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.045)


def test_useless_attacks_are_rarely_accused():
    rng = np.random.default_rng(0)
    kinds = [verdict(auc(*rng.normal(size=(2, 200)))).kind for _ in range(2000)]
    assert kinds.count("leaks") / 2000 == pytest.approx(0.025, abs=0.012)
    assert kinds.count("inverted") / 2000 == pytest.approx(0.025, abs=0.012)


def test_blind_baseline_condemns_a_shifted_split_and_spares_a_random_one():
    rng = np.random.default_rng(0)
    false_alarms = [blind_invalid(*rng.normal(size=(2, 200))) for _ in range(3000)]
    assert 0.003 <= np.mean(false_alarms) <= 0.02
    assert blind_invalid(rng.normal(0.7, 1, 200), rng.normal(size=200))


def test_blind_baseline_is_one_sided():
    rng = np.random.default_rng(0)
    assert not blind_invalid(rng.normal(-2, 1, 200), rng.normal(size=200))


def test_blind_baseline_sits_between_its_neighbours():
    # An AUC whose 95 % interval is just above 1/2 is not enough; 99 % one-sided is asked for.
    rng = np.random.default_rng(0)
    draws = [(rng.normal(0.25, 1, 300), rng.normal(size=300)) for _ in range(200)]
    between = [pair for pair in draws if auc(*pair, level=0.9).low > 0.5 >= auc(*pair, level=0.98).low]
    assert between
    assert not any(blind_invalid(*pair) for pair in between)


def test_family_wise_holds_together():
    assert family_wise(0.95, 1) == 0.95
    assert family_wise(0.95, 20) ** 20 == pytest.approx(0.95)
    rng = np.random.default_rng(0)
    level = family_wise(0.95, 8)
    quiet = np.abs(rng.normal(size=(20000, 8))).max(1) < norm.isf((1 - level) / 2)
    assert quiet.mean() == pytest.approx(0.95, abs=0.006)


@pytest.mark.parametrize(("level", "count"), [(0.0, 3), (1.0, 3), (0.95, 0)])
def test_family_wise_refuses_nonsense(level, count):
    with pytest.raises(ValueError):
        family_wise(level, count)
