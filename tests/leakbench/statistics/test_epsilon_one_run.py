"""The one-run bound: published vectors, another library's numbers, the closed form, and exact error rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from leakbench.statistics import EpsilonBound, epsilon_one_run, guesses
from leakbench.statistics.epsilon_one_run import _p_value


@pytest.mark.parametrize(
    ("canaries", "guessed", "right", "delta", "epsilon"),
    [
        (1000, 1000, 600, 1e-5, 0.297227),
        (1000, 100, 100, 1e-5, 3.465376),
        (1000, 100, 95, 1e-5, 2.165176),
        (1000, 100, 95, 0, 2.172434),
        (10000, 1000, 900, 1e-5, 2.015194),
        (50000, 1000, 900, 1e-5, 1.986206),
        (50000, 500, 500, 1e-6, 4.977758),
    ],
)
def test_vectors_of_the_reference_page(canaries, guessed, right, delta, epsilon):
    assert epsilon_one_run(canaries, guessed, right, delta).value == pytest.approx(epsilon, abs=1e-5)


@pytest.mark.parametrize(
    ("canaries", "guessed", "right", "delta", "epsilon"),
    [
        (1000, 1000, 600, 1e-5, 0.2972269575896597),
        (1000, 100, 95, 1e-5, 2.165175787875041),
        (50000, 1000, 900, 1e-5, 1.986206237819815),
        (2000, 200, 160, 1e-4, 1.050758755142874),
    ],
)
def test_same_as_jax_privacy(canaries, guessed, right, delta, epsilon):
    # jax-privacy 2.0.0, CanaryScoreAuditor(ins, outs).epsilon_one_run(0.05, delta, threshold_strategy=Explicit(0.5)),
    # scores 1 for the `guessed` canaries (`right` of them in), 0 for all others. It solves to 1e-6.
    assert epsilon_one_run(canaries, guessed, right, delta).value == pytest.approx(epsilon, abs=2e-6)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("guessed", [10, 20, 50, 100, 200, 500, 1000])
def test_all_right_without_delta_is_the_closed_form(guessed, level):
    s = (1 - level) ** (1 / guessed)
    found = epsilon_one_run(guessed, guessed, guessed, 0, level)
    assert found.value == pytest.approx(np.log(s / (1 - s)), abs=1e-8)
    assert found.ceiling == found.value


def test_ceiling_is_what_no_mistake_would_have_shown():
    found = epsilon_one_run(1000, 100, 70, 1e-5)
    assert found.ceiling == epsilon_one_run(1000, 100, 100, 1e-5).value > found.value > 0
    assert found.level == 0.95


@pytest.mark.parametrize("right", [0, 30, 50, 57])
def test_guessing_shows_nothing(right):
    found = epsilon_one_run(1000, 100, right, 1e-5)
    assert isinstance(found, EpsilonBound)
    assert (found.value, found.ceiling > 3) == (0.0, True)


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 30), st.sampled_from([0, 1e-5, 1e-3, 0.1]))
def test_p_value_written_out_and_never_falling(guessed, right, times, delta):
    right, canaries = min(right, guessed), guessed * times
    found = [_p_value(canaries, guessed, right, eps, delta) for eps in np.linspace(0, 8, 33)]
    assert (np.diff(found) >= -1e-12).all()
    q = 1 / (1 + np.exp(-1.25))
    mass = binom.pmf(np.arange(guessed + 1), guessed, q)
    a = max((mass[right - i : right].sum() / i for i in range(1, right + 1)), default=0)
    assert found[5] == pytest.approx(min(1, mass[right:].sum() + 2 * canaries * delta * a), abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("guessed", [20, 200])
def test_claims_that_hold_are_refuted_in_at_most_one_of_twenty_runs(epsilon, guessed):
    # Randomised response tells each coin with probability 1 / (1 + e^-eps): as much as eps allows.
    chance = binom.pmf(np.arange(guessed + 1), guessed, 1 / (1 + np.exp(-epsilon)))
    bounds = np.array([epsilon_one_run(guessed, guessed, right, 0).value for right in range(guessed + 1)])
    assert chance[bounds > epsilon].sum() <= 0.05
    assert chance[bounds > 0.3 * epsilon].sum() > 0.05  # it does show something


def by_loop(scores, included, share):
    half = min(round(share * len(scores) / 2), len(scores) // 2)
    ranked = sorted(range(len(scores)), key=lambda i: (scores[i], i))
    right = sum(not included[i] for i in ranked[:half]) + sum(included[i] for i in ranked[len(scores) - half :])
    return 2 * half, right


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=4, max_size=40), st.sampled_from([0.5, 0.8, 1]))
def test_guesses_by_loop(canaries, share):
    scores, included = (np.array(column) for column in zip(*canaries, strict=True))
    assert guesses(scores, included, share) == by_loop(scores, included, share)


def test_number_of_guesses_is_fixed_by_the_share_alone():
    rng = np.random.default_rng(0)
    for canaries, share, expected in ((1000, 0.1, 100), (1001, 1.0, 1000), (7, 1.0, 6), (999, 0.5, 500)):
        scores, coins = rng.normal(size=canaries), rng.random(canaries) < 0.5
        assert guesses(scores, coins, share)[0] == expected


def test_equal_scores_know_nothing_of_the_coins():
    # Constant scores, and coins that run in blocks: the guesses are the last half and the first half all the same.
    coins = np.arange(100) >= 50
    assert guesses(np.zeros(100), coins, 1.0) == (100, 100)
    assert guesses(np.zeros(100), ~coins, 1.0) == (100, 0)
    rng = np.random.default_rng(0)
    right = [guesses(rng.integers(0, 3, 200), rng.random(200) < 0.5, 0.4)[1] for _ in range(500)]
    assert np.mean(right) == pytest.approx(40, abs=4 * np.sqrt(80 / 4 / 500))


def test_from_scores_to_a_bound():
    rng = np.random.default_rng(0)
    coins = rng.random(2000) < 0.5
    strong, weak = (epsilon_one_run(2000, *guesses(rng.normal(shift * coins), coins, 0.1), 1e-5) for shift in (3, 0))
    assert strong.value > 2 > 0.5 > weak.value
    assert strong.ceiling == weak.ceiling


@pytest.mark.parametrize(
    ("scores", "included", "share"),
    [
        ([1.0, 2.0], [True], 1),
        ([1.0, 2.0], [1, 0], 1),
        ([1.0, np.nan], [True, False], 1),
        ([1.0, 2.0], [True, False], 0),
        ([1.0, 2.0], [True, False], 1.1),
        ([1.0, 2.0], [True, False], 0.1),
    ],
)
def test_guesses_refuse_nonsense(scores, included, share):
    with pytest.raises(ValueError):
        guesses(scores, np.array(included), share)


@pytest.mark.parametrize(
    ("canaries", "guessed", "right", "delta", "level"),
    [(10, 11, 5, 0, 0.95), (10, 5, 6, 0, 0.95), (10, 0, 0, 0, 0.95), (10, 5, 5, 1, 0.95), (10, 5, 5, 0, 1)],
)
def test_bound_refuses_nonsense(canaries, guessed, right, delta, level):
    with pytest.raises(ValueError):
        epsilon_one_run(canaries, guessed, right, delta, level)
