"""The power that a claim states is the share of simulated runs that say `holds`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from leakbench.reports.claims.claim import Claim
from leakbench.reports.claims.evidence import join_seeds
from leakbench.reports.claims.judge import decide, judge_claim
from leakbench.reports.claims.power import find_power
from leakbench.reports.claims.words import explain, format_junit
from leakbench.statistics import Estimate, auc, tpr_at_fpr

RUNS = 400


def claim(**more):
    return Claim(**{"name": "a", "defense": "baseline", "attack": "pia", **more})


def draw(truth, n, attacks=1, seed=0):
    """Normal scores of members and nonmembers in each run, with a true AUC: (RUNS, attacks, n) each."""
    rng, distance = np.random.default_rng(seed), np.sqrt(2) * stats.norm.ppf(truth)
    return rng.normal(distance, 1, (RUNS, attacks, n)), rng.normal(size=(RUNS, attacks, n))


def share_that_holds(truth, n, bounds, attacks=1):
    low, high = bounds
    found = [[auc(*sides) for sides in zip(*run, strict=True)] for run in zip(*draw(truth, n, attacks), strict=True)]
    return np.mean([all(decide(one, low, high) == "holds" for one in run) for run in found])


@pytest.mark.parametrize("n, bound", [(60, 0.7), (300, 0.56), (300, 0.6)])
@pytest.mark.parametrize("measured", [0.5, 0.8, 0.995])
def test_the_power_at_no_leak_is_that_of_simulated_runs(n, bound, measured):
    """Whatever the run itself measured."""
    bounds = (1 - bound, bound)
    one = auc(*(side[0, 0] for side in draw(measured, n, seed=1)))
    found = find_power(claim(at_most=bound), bounds, [one], 0.95)
    assert found.truth == 0.5
    assert bound != 0.56 or found.probability == pytest.approx(0.445, abs=0.005)  # as docs/claims.md says
    assert found.probability == pytest.approx(share_that_holds(0.5, n, bounds), abs=0.06)


def test_of_several_attacks_all_have_to_hold():
    bounds = (0.42, 0.58)
    some = [auc(*(side[0, i] for side in draw(0.5, 300, 3, seed=2))) for i in range(3)]
    found = find_power(claim(at_most=0.58), bounds, some, 0.95)
    assert found.probability == pytest.approx(share_that_holds(0.5, 300, bounds, 3), abs=0.06)


@pytest.mark.parametrize("alike", [0.0, 0.9, 1.0])
def test_the_power_over_several_attacks_encloses_that_of_simulated_runs(alike):
    """Three attacks that share a part of their scores; at 1 they are one."""
    rng, bounds = np.random.default_rng(7), (0.4, 0.6)
    shared, own = rng.normal(size=(2, RUNS, 1, 200)), rng.normal(size=(2, RUNS, 3, 200))
    runs = [
        [auc(*sides) for sides in zip(*run, strict=True)]
        for run in zip(*(alike * shared + (1 - alike) * own), strict=True)
    ]
    said = find_power(claim(at_most=0.6), bounds, runs[0], 0.95)
    simulated = np.mean([all(decide(one, *bounds) == "holds" for one in run) for run in runs])
    assert said.probability - 0.06 < simulated < said.most + 0.06
    assert alike < 1 or said.probability == said.most  # one computation counts once
    assert alike > 0 or said.most - said.probability > 0.2


def test_two_seeds_that_differ_have_the_power_of_each():
    """The envelope of two seeds is as wide as they lie apart, which says nothing of a model that leaks nothing."""
    apart = [auc(*(side[0, 0] for side in draw(truth, 300, seed=3))) for truth in (0.7, 0.85)]
    joined = join_seeds(apart, 0.95, "auc")
    assert joined.joined.low == apart[0].low and joined.joined.high == apart[1].high
    said = find_power(claim(at_most=0.58), (0.42, 0.58), joined.parts, 0.95)
    one = share_that_holds(0.5, 300, (0.42, 0.58))
    assert said.most == pytest.approx(one, abs=0.06) and said.probability == pytest.approx(one**2, abs=0.06)


@pytest.mark.parametrize("bound", [0.5, 0.76, 0.9])
@pytest.mark.parametrize("measured", [0.6, 0.77, 0.97])
def test_at_least_a_value_has_a_truth_with_80_percent_and_not_the_end_of_the_range(bound, measured):
    one = auc(*(side[0, 0] for side in draw(measured, 100, seed=4)))
    said = find_power(claim(at_least=bound), (bound, np.inf), [one], 0.983)
    assert said.probability == 0.8 and bound < said.truth < 0.99


def test_where_no_value_stands_for_the_truth_it_is_the_nearest_one_with_80_percent():
    one = auc(*(side[0, 0] for side in draw(0.93, 300, seed=3)))
    found = find_power(claim(at_least=0.9), (0.9, np.inf), [one], 0.95)
    assert found.probability == 0.8 and 0.9 < found.truth < 1
    assert share_that_holds(found.truth, 300, (0.9, np.inf)) == pytest.approx(0.8, abs=0.07)


def test_the_power_of_a_tpr_is_that_of_simulated_runs():
    rng, bounds = np.random.default_rng(5), (-np.inf, 0.2)
    sides = rng.normal(size=(2, RUNS, 300))
    found = [tpr_at_fpr(a, b, 0.1).estimate for a, b in zip(*sides, strict=True)]
    said = find_power(claim(metric="tpr@fpr=0.1", at_most=0.2), bounds, found[:1], 0.95)
    assert said.truth == 0.1
    assert said.probability == pytest.approx(np.mean([decide(f, *bounds) == "holds" for f in found]), abs=0.1)


@pytest.mark.parametrize(
    "more, bounds, truth",
    [
        ({"within": (0.4, 0.5)}, (0.4, 0.5), 0.45),
        ({"metric": "copy_rate_excess", "at_most": 0.05}, (-np.inf, 0.05), 0.0),
        ({"against": "baseline", "at_most": 0.02}, (-np.inf, 0.02), 0.0),
    ],
)
def test_the_truth_that_stands_for_what_is_hoped_for(more, bounds, truth):
    assert find_power(claim(**more), bounds, [Estimate(0.0, -0.01, 0.01, 300)], 0.95).truth == pytest.approx(truth)


def test_a_bound_that_no_value_lies_within_has_no_power():
    one = Estimate(0.9, 0.85, 0.94, 300)
    assert find_power(claim(at_least=1.0), (1.0, np.inf), [one], 0.95) is None
    assert find_power(claim(at_most=-1.0), (-np.inf, -1.0), [one], 0.95) is None
    weak = find_power(claim(metric="recall", at_least=0.95), (0.95, np.inf), [Estimate(0.9, 0.8, 1, 30)], 0.95)
    assert weak.truth == 1 and weak.probability < 0.8  # not even the best value


def test_it_stands_in_the_line_and_in_junit(run):
    (found,) = judge_claim(run, claim(access="DENOISER", at_most=0.99))
    assert "power 1 if the true value is 0.5" in explain(found)
    page = format_junit([found], strict=False)
    assert '<property name="power" value="1" />' in page and '"images" value="250"' in page
