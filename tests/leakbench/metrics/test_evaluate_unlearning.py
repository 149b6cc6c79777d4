"""What attacks on unlearning saw, as metrics: by hand-made scores and curves whose answers are known."""

import numpy as np
import pytest

from leakbench.api import PairedScores, RecoveryCurve, UnlearningEvidence, UnlearningScores
from leakbench.metrics.evaluate.unlearning import (
    evaluate_curve,
    evaluate_paired_scores,
    evaluate_unlearning,
    first_step_reaching,
    flatten_evidence,
)
from leakbench.results.evidence import UnlearningGroups
from leakbench.statistics import auc, delong_pair

RNG = np.random.default_rng(0)


def scores(*shifts, n=40):
    return UnlearningScores(*(RNG.normal(shift, 1, n) for shift in shifts))


def values(found):
    return {one.name: one.value for one in found.metrics}


def test_aucs_and_their_paired_difference():
    ours, null = scores(1.0, 0.0, 2.0), scores(0.2, 0.0, 1.0)
    found = evaluate_paired_scores("it", PairedScores(ours, null))
    by_name = {one.name: one for one in found.metrics}
    assert by_name["it_auc"].value == auc(ours.forget, ours.unseen).value
    assert by_name["it_auc_retrained"].value == auc(null.forget, null.unseen).value
    pair = delong_pair(ours.forget, ours.unseen, null.forget, null.unseen)
    excess = by_name["it_auc_excess"]
    numbers = excess.value, excess.ci_low, excess.ci_high, excess.n, excess.n_groups
    told = pair.difference
    assert numbers == (told.value, told.low, told.high, told.n, told.groups)
    assert found.info["it_auc_excess_p"] == pair.p_value
    assert by_name["it_vs_retained_auc"].value == auc(ours.forget, ours.retained).value
    assert found.info["it_means"]["model_forget"] == pytest.approx(ours.forget.mean())
    assert "it_distance_ratio" not in by_name and not found.flags


def test_without_retained_images_nothing_is_said_of_them():
    found = evaluate_paired_scores("it", PairedScores(scores(1.0, 0.0), scores(0.0, 0.0)))
    assert not [name for name in values(found) if "retained" in name]


@pytest.mark.parametrize(("ours", "null", "flagged"), [(-2.0, 0.0, True), (-2.0, -2.0, False), (2.0, 0.0, False)])
def test_inverted_is_what_lies_below_one_half_and_below_the_null(ours, null, flagged):
    """An order that the images alone bring about is no leak of this model's."""
    same = RNG.normal(0, 1, (2, 40))
    contrast = PairedScores(*(UnlearningScores(same[0] + shift, same[1]) for shift in (ours, null)))
    assert ("inverted" in evaluate_paired_scores("it", contrast).flags) is flagged


def test_the_distance_ratio_is_that_of_sorted_quantiles():
    """The earth mover's distance of equally many numbers is the mean distance of the sorted ones."""
    ours, null, standard = scores(3.0, 0.0, 1.0), scores(6.0, 0.0, 1.0), RNG.normal(0, 1, 40)
    found = values(evaluate_paired_scores("it", PairedScores(ours, null, standard)))

    def distance(a):
        return np.abs(np.sort(a) - np.sort(standard)).mean()

    assert found["it_distance_ratio"] == pytest.approx(distance(ours.forget) / distance(ours.retained))
    assert found["it_distance_ratio_retrained"] == pytest.approx(distance(null.forget) / distance(null.retained))


@pytest.mark.parametrize("side", ["model", "retrained"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_flagged_and_stay_out_of_the_facts(side, wrong):
    both = {"model": scores(1.0, 0.0, 1.0), "retrained": scores(0.0, 0.0, 1.0)}
    both[side].forget[3] = wrong
    found = evaluate_paired_scores("it", PairedScores(**both, standard=RNG.normal(0, 1, 40)))
    assert "non-finite" in found.flags
    assert found.info["it_means"][f"{side}_forget"] is None
    assert all(np.isfinite(one.value) for one in found.metrics if one.value is not None)


# Curves ---------------------------------------------------------------------------------------------------------------

STEPS = np.array([0, 1, 2, 4])


def curve(model, retrained, samples=50, noise=0.0):
    rows = [np.array(side)[:, None] + noise * RNG.normal(0, 1, (len(side), samples)) for side in (model, retrained)]
    return RecoveryCurve(STEPS, *rows, real=np.full(10, 0.5))


def test_a_curve_is_read_at_half_of_the_real_images_level():
    found = evaluate_curve("it", curve([0.125, 0.24, 0.26, 0.75], [0.0, 0.0, 0.0, 0.25]))
    got = values(found)
    assert (got["it_steps"], got["it_steps_retrained"]) == (2, 4)  # 1/4 itself is enough
    assert (got["it_probability"], got["it_probability_retrained"]) == (0.75, 0.25)
    assert got["it_excess"] == pytest.approx(np.mean([0.24, 0.26, 0.5]))
    assert found.info == {"it_level": 0.25, "it_budget": 4} and not found.flags


def test_what_does_not_come_back_has_no_value_and_a_flag():
    found = evaluate_curve("it", curve([0.5] * 4, [0.1] * 4))
    assert values(found)["it_steps"] == 0 and values(found)["it_steps_retrained"] is None
    assert found.flags == {"not-brought-back"}


def test_the_interval_of_the_steps_holds_those_of_the_bounds():
    rows = np.array([[0.0, 0.2], [0.3, 0.5], [0.35, 0.55], [0.9, 1.0]])  # at 2, the mean's lower bound is below 0.4
    metric = first_step_reaching(STEPS, rows, 0.4)
    assert (metric.ci_low, metric.value, metric.ci_high) == (1, 1, 4) and metric.n == 2
    assert first_step_reaching(STEPS, rows, 0.45).ci_low == 1 and first_step_reaching(STEPS, rows, 0.45).value == 2
    assert first_step_reaching(STEPS, rows, 2.0).value is None


def test_the_excess_pairs_samples():
    """A spread that both models share cancels."""
    shared = RNG.normal(0, 0.2, (4, 200))
    pair = RecoveryCurve(STEPS, 0.5 + shared, 0.3 + shared, np.full(10, 0.8))
    excess = next(one for one in evaluate_curve("it", pair).metrics if one.name == "it_excess")
    assert excess.value == pytest.approx(0.2) and excess.ci_high - excess.ci_low < 1e-6


def test_the_excess_is_covered_by_its_interval():
    hits, runs = 0, 400
    for _ in range(runs):
        found = evaluate_curve("it", curve([0.5] * 4, [0.45] * 4, samples=64, noise=0.1))
        excess = next(one for one in found.metrics if one.name == "it_excess")
        hits += excess.ci_low <= 0.05 <= excess.ci_high
    assert 0.91 <= hits / runs <= 0.98  # four standard errors around 95 %


def test_a_curve_with_nan_is_flagged():
    broken = curve([0.5] * 4, [0.1] * 4)
    broken.model[2, 1] = np.nan
    found = evaluate_curve("it", broken)
    assert found.flags == {"non-finite"} and not found.metrics


def test_everything_together_and_its_arrays():
    evidence = UnlearningEvidence(
        {
            "a": PairedScores(scores(1, 0, 1), scores(0, 0, 1), np.zeros(3)),
            "b": PairedScores(scores(1, 0), scores(0, 0)),
        },
        {"c": curve([0.5] * 4, [0.5] * 4)},
    )
    assert {name.split("_")[0] for name in values(evaluate_unlearning(evidence))} == {"a", "b", "c"}
    sides = [f"{side}_{group}" for side in ("model", "retrained") for group in ("forget", "unseen")]
    wanted = {f"{name}_{side}" for name in "ab" for side in sides}
    wanted |= {"a_model_retained", "a_retrained_retained", "a_standard"}
    assert flatten_evidence(evidence).keys() == wanted | {"c_steps", "c_model", "c_retrained", "c_real"}


def test_groups_reach_every_auc_and_the_paired_difference():
    """Four images a person: the same values, and the statistics' own intervals with those groups."""
    ours, null = scores(1.0, 0.0, 2.0), scores(0.2, 0.0, 1.0)
    counts = [len(getattr(ours, part)) for part in ("forget", "unseen", "retained")]
    groups = UnlearningGroups(*(np.arange(count) // 4 + 1000 * number for number, count in enumerate(counts)))
    plain = evaluate_paired_scores("it", PairedScores(ours, null))
    found = {m.name: m for m in evaluate_paired_scores("it", PairedScores(ours, null, groups=groups)).metrics}
    whose = groups.forget, groups.unseen
    pair = delong_pair(ours.forget, ours.unseen, null.forget, null.unseen, groups=whose).difference
    assert (found["it_auc_excess"].ci_low, found["it_auc_excess"].ci_high) == (pair.low, pair.high)
    assert found["it_auc"].ci_low == auc(ours.forget, ours.unseen, groups=whose).low
    retained = auc(ours.forget, ours.retained, groups=(groups.forget, groups.retained))
    assert found["it_vs_retained_auc"].ci_high == retained.high
    assert all(found[m.name].value == m.value for m in plain.metrics)
    assert all(found[name].n_groups for name in found if "auc" in name) and plain.metrics[0].n_groups is None
    arrays = flatten_evidence(UnlearningEvidence({"it": PairedScores(ours, null, groups=groups)}))
    without = flatten_evidence(UnlearningEvidence({"it": PairedScores(ours, null)}))
    assert set(arrays) - set(without) == {"it_forget_groups", "it_unseen_groups", "it_retained_groups"}
