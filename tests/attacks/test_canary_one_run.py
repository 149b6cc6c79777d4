"""One-run audits: what is promised of the bounds, what an attack is told, and what it scores."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from leakbench.api import CANARY, Access, AuditingAttack, AuditSetting, CanaryEvidence
from leakbench.attacks.auditing.canary_one_run import CanaryOneRun
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.auditing import DELTA, measure_auditing
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.evaluate import auditing
from leakbench.metrics.evaluate.auditing import evaluate_auditing, frozen_rule
from leakbench.results.guarantee import Guarantee
from leakbench.runtime.run_config import RunConfig
from leakbench.statistics import epsilon_clopper_pearson, epsilon_one_run
from leakbench.suite.load import load
from leakbench.testing import failures
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng

BOUNDS = ("", "_clopper_pearson", "_gaussian", "_bayes")


def values(found):
    return {one.name: one.value for one in found.metrics}


def claim(epsilon):
    return Guarantee(epsilon=epsilon, delta=1e-5)


def coins(m, seed=0):
    return np.random.default_rng(seed).random(m) < 0.5


# The bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_perfect_memoriser_reaches_every_ceiling(share):
    """The coins are guessed in equal numbers, so of an odd lot one guess is wrong at share 1: the lot here is even."""
    included = np.random.default_rng(1).permutation(np.arange(400) < 200)
    found = values(evaluate_auditing(CanaryEvidence(included + 0.0, included), share, 1e-5))
    assert found["epsilon_lower"] == found["epsilon_ceiling"]
    assert found["epsilon_ceiling"] == epsilon_one_run(400, round(400 * share), round(400 * share), 1e-5, 0.975).value
    for name in BOUNDS[1:]:
        assert found[f"epsilon_lower{name}"] == pytest.approx(found[f"epsilon_ceiling{name}"]) and name in str(found)
    assert found["canary_auc"] == 1.0


@pytest.fixture
def quick(monkeypatch):
    """Without the bounds that promise no rate of error: the Bayesian one takes most of the time."""
    kept = {"clopper_pearson": epsilon_clopper_pearson}
    monkeypatch.setattr(auditing, "_HEURISTIC", kept)


def test_coins_that_no_score_knows_give_nothing_nearly_always(quick):
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found.append(values(evaluate_auditing(CanaryEvidence(rng.normal(size=200), rng.random(200) < 0.5), 0.5, 1e-5)))
    for name in BOUNDS[:2]:
        above = sum(one[f"epsilon_lower{name}"] > 0 for one in found)
        assert stats.binomtest(above, 200, 0.05, alternative="greater").pvalue > 1e-3, name


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_a_right_claim_is_exceeded_in_one_of_twenty_at_most(epsilon, quick):
    """Randomised response: each coin is told truly with probability e^eps / (1 + e^eps), as surely as can be."""
    q, above = 1 / (1 + math.exp(-epsilon)), {name: 0 for name in BOUNDS[:2]}
    flagged = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        included = rng.random(150) < 0.5
        told = np.where(rng.random(150) < q, included, ~included)
        found = evaluate_auditing(CanaryEvidence(told + 1e-6 * rng.random(150), included), 0.6, 1e-6, claim(epsilon))
        flagged += "epsilon-above-guarantee" in found.flags
        for name in above:
            above[name] += values(found)[f"epsilon_lower{name}"] > epsilon
    assert above[""] == flagged
    for name in above:
        assert stats.binomtest(above[name], 300, 0.05, alternative="greater").pvalue > 1e-3, above


def test_a_claim_that_the_ceiling_cannot_exceed_is_said_to_be_out_of_reach():
    included = coins(100)
    given = CanaryEvidence(included + 0.0, included)
    assert evaluate_auditing(given, 0.5, 1e-5, claim(8.0)).flags == {"ceiling-below-guarantee"}
    assert evaluate_auditing(given, 0.5, 1e-5, claim(0.5)).flags == {"epsilon-above-guarantee"}
    assert evaluate_auditing(given, 0.5, 1e-5).flags == set()


def test_the_threshold_is_frozen_on_one_half_and_measured_on_the_other():
    included = coins(300, 5)
    scores = np.random.default_rng(6).normal(size=300) + included
    found = values(evaluate_auditing(CanaryEvidence(scores, included), 0.5, 1e-5))
    sign, threshold = frozen_rule(scores[::2], included[::2], 1e-5)
    assert sign == 1
    candidates = np.unique(scores[::2])

    def bound(half, threshold):
        accepted, inside = scores[half] >= threshold, included[half]
        tp, fp = int((accepted & inside).sum()), int((accepted & ~inside).sum())
        return epsilon_clopper_pearson(tp, int(inside.sum()), fp, int((~inside).sum()), 1e-5).value

    assert bound(slice(0, None, 2), threshold) == max(bound(slice(0, None, 2), one) for one in candidates) > 0
    assert found["epsilon_lower_clopper_pearson"] == bound(slice(1, None, 2), threshold)


def test_an_inverted_attack_shows_what_its_mirror_image_shows(quick):
    included = coins(300, 5)
    scores = np.random.default_rng(6).normal(size=300) + 3 * included
    forward, reverse = (
        evaluate_auditing(CanaryEvidence(sign * scores, included), 0.5, 1e-5, claim(0.5)) for sign in (1, -1)
    )
    assert values(reverse)["epsilon_lower"] == values(forward)["epsilon_lower"] > 1
    assert values(reverse)["epsilon_lower_clopper_pearson"] == values(forward)["epsilon_lower_clopper_pearson"] > 1
    assert (forward.info["reversed"], reverse.info["reversed"]) == (False, True)
    assert forward.flags == reverse.flags == {"epsilon-above-guarantee"}
    assert forward.info["level"] == 0.95


def test_groups_with_one_coin_are_canaries_beside_what_is_stated_of_a_group(quick):
    """A bound by group does not stand beside an epsilon by image, nor the other way round."""
    groups = np.repeat(np.arange(300)[::-1], 2)
    included = coins(300, 5).repeat(2)
    given = CanaryEvidence(np.random.default_rng(6).normal(size=600) + 3 * included, included, groups)
    history = {"delta": 1e-5, "adjacency": "zero-out", "history": ((6.0, 0.25, 525),)}

    def judged(by_group=True, **stated):
        evidence = given if by_group else CanaryEvidence(given.scores, given.included)
        return evaluate_auditing(evidence, 0.5, 1e-5, Guarantee(**history, **stated))

    found = judged(unit="group", epsilon=0.5)
    assert found.info["unit"] == "group" and {m.n for m in found.metrics if m.name == "epsilon_lower"} == {300}
    assert "epsilon-above-guarantee" in found.flags
    assert values(found)["canary_auc"] > 0.99 > values(judged(False, epsilon=0.5, unit="image"))["canary_auc"]
    by_image = judged(unit="image", epsilon=0.5)
    assert by_image.flags == set() and "epsilon_lower_f_dp" not in values(by_image)
    beside = judged(unit="image", epsilon=0.5, group_size=2, facts={"epsilon_by_group": 90.0})
    assert beside.flags == {"ceiling-below-guarantee"}
    assert values(beside)["epsilon_lower_f_dp"] != values(found)["epsilon_lower_f_dp"]  # by the curve of two images
    other = judged(False, unit="group", epsilon=0.5)
    assert other.flags == set() and "epsilon_lower_f_dp" not in values(other) and "unit" not in other.info


def test_noisy_steps_that_are_stated_add_the_bound_under_f_dp(quick):
    """And only those of zero-out adjacency, whose curve it is."""
    included = coins(300, 5)
    given = CanaryEvidence(np.random.default_rng(6).normal(size=300) + 3 * included, included)
    stated = Guarantee(epsilon=10.0, delta=1e-5, adjacency="zero-out", unit="image", history=((3.0, 0.25, 525),))
    found = evaluate_auditing(given, 0.5, 1e-5, stated)
    assert values(found)["epsilon_lower_f_dp"] > 1.3 * values(found)["epsilon_lower"] > 1.3
    assert values(found)["epsilon_ceiling_f_dp"] > values(found)["epsilon_ceiling"]
    assert "DP-SGD" in found.info["f_dp_assumes"] and found.flags == {"ceiling-below-guarantee"}
    for less in ({"history": None}, {"history": ()}, {"adjacency": "replace"}, {"adjacency": None}):
        other = evaluate_auditing(given, 0.5, 1e-5, stated.model_copy(update=less))
        assert "epsilon_lower_f_dp" not in values(other)


def test_what_cannot_be_judged_is_flagged():
    included = np.arange(40) < 1
    assert evaluate_auditing(CanaryEvidence(included + 0.0, included), 0.5, 1e-5).flags == {"too-few-canaries"}
    included = coins(100)
    broken = CanaryEvidence(np.where(np.arange(100) == 3, np.nan, included + 0.0), included)
    assert "non-finite" in evaluate_auditing(broken, 0.5, 1e-5).flags
    assert "constant-scores" in evaluate_auditing(CanaryEvidence(np.zeros(100), included), 0.5, 1e-5).flags


# The attack -----------------------------------------------------------------------------------------------------------


def test_the_score_is_the_mean_loss_over_draws_and_timesteps():
    release, x0 = toy_release(4), toy_images(7, "canaries")
    attack = CanaryOneRun(t=(30, 200), draws=3)
    nobody = {CANARY.name: AuxiliaryRelease(AttackTarget.of(release, toy_rng()).source, np.empty(0, dtype=int))}
    asked = Images(x0, torch.arange(7), None)
    found, queries = AttackTarget.of(release, toy_rng(), others=nobody).score({"": AttackRequest(attack, False)}, asked)
    slow = []
    for i in range(7):
        losses = []
        for t in attack.t:
            alpha_bar = float(release.schedule.alpha_bar[t])
            for draw in range(3):
                noise = toy_rng().of("attacking", "forward").normal(torch.tensor([i]), SHAPE, draw)
                x = alpha_bar**0.5 * x0[i : i + 1] + (1 - alpha_bar) ** 0.5 * noise
                losses.append(float((release.network(x, torch.tensor([t])) - noise).double().square().sum()))
        slow.append(-np.mean(losses))
    np.testing.assert_allclose(found[""], slow, rtol=1e-5)
    assert queries[""] == 6


def test_it_conforms_and_bad_parameters_are_refused():
    assert failures(CanaryOneRun) == []
    for wrong in ({"t": ()}, {"t": (1000,)}, {"draws": 0}, {"guesses": 0}, {"guesses": 1.1}):
        with pytest.raises(ValidationError):
            CanaryOneRun(**wrong)
    found = CanaryOneRun().skip(AuditSetting((), "none", "nothing", 150, 10))
    assert found.reason == "it asks at t = 200, and the noise schedule ends at t = 149"


# The measurement ------------------------------------------------------------------------------------------------------


def audit_of(home, tiny_text, defense, seed=0):
    split = "[split]\nmembers = 60\nnonmembers = 60\ncalibration_in = 20\ncalibration_out = 20\n"
    text = tiny_text.split("[split]")[0] + split + "[network]\nwidth = 32\nblocks = 1\n[sampler]\nsteps = 5\n" + defense
    (home / "s.toml").write_text(text)
    builder = ReleaseBuilder(RunInputs(load(str(home / "s.toml")), RunConfig(home / "out", home / "cache")))
    return AuditContext(builder, FeatureExtractor(builder.inputs), builder.inputs.suite.points[0], seed)


def measured_alone(audit, **parameters):
    """The canary release measured, and no other trained: it stands for the target too."""
    vars(audit)["release"] = audit.builder.build_release(audit.point.chain, audit.seed, CANARY)
    return measure_auditing(audit, CanaryOneRun(**parameters), Access.DENOISER).metrics


BASELINE = '[[defense]]\nname = "baseline"\nsteps = 1200\nbatch = 80\nlr = 0.01\n'


class Peeking(AuditingAttack):
    """Scores by what it is told of coins, and by the weights that answer."""

    name = "peeking"
    summary = "a spy"
    access = Access.WEIGHTS

    def score(self, view, pictures, labels):
        assert set(view.others) == {"canary"}
        weights = sum(parameter.double().sum() for parameter in view.network.parameters())
        return view.others["canary"].is_member * 1000.0 + weights + 0.0 * view.ids


@pytest.fixture(scope="module")
def audit(tmp_path_factory, tiny_text):
    return audit_of(tmp_path_factory.mktemp("auditing"), tiny_text, BASELINE.replace("1200", "30"))


def test_the_coins_are_told_to_nobody_and_the_canary_release_is_what_answers(audit):
    found = measure_auditing(audit, Peeking(), Access.WEIGHTS)
    builder, chain = audit.builder, audit.point.chain
    canary = builder.build_release(chain, 0, CANARY)
    weights = sum(float(parameter.double().sum()) for parameter in canary.network.parameters())
    others = sum(float(parameter.double().sum()) for parameter in audit.release.network.parameters())
    np.testing.assert_allclose(found.arrays["scores"], weights, rtol=1e-5)
    assert abs(weights - others) > 0.1
    inside = np.isin(builder.inputs.pool, builder.inputs.training_rows(CANARY, 0))
    np.testing.assert_array_equal(found.arrays["included"], inside)
    assert len(builder.inputs.pool) == 160 and 50 < inside.sum() < 110 and inside.sum() != 80


def test_the_claims_of_both_releases_stand_beside_the_bound(audit):
    found = measure_auditing(audit, CanaryOneRun(draws=1), Access.DENOISER)
    assert found.queries == 4
    info = found.metrics.info
    assert info["target_guarantee"] == info["canary_guarantee"] == {} and info["delta"] == DELTA
    assert info["guessed"] == 80 and len(info["heuristic"]) == 3
    assert {f"epsilon_{kind}{name}" for kind in ("lower", "ceiling") for name in BOUNDS} <= {
        one.name for one in found.metrics.metrics
    }


def test_bounds_below_and_above_a_step_that_voids_a_guarantee_are_taken_at_one_delta(tmp_path, tiny_text):
    private = '[[defense]]\nid = "baseline"\nname = "dp_sgd"\nnoise_multiplier = 6.0\nsteps = 2\nbatch = 40\n'
    above = '\n[[defense]]\nname = "cpsample"\nbase = "baseline"\nsteps = 2\n'
    below, lost = (
        measure_auditing(dataclasses.replace(audit, point=point), CanaryOneRun(draws=1), Access.DENOISER).metrics.info
        for audit in [audit_of(tmp_path, tiny_text, private + above)]
        for point in audit.inputs.suite.points[:2]
    )
    assert lost["delta"] == below["delta"] == below["canary_guarantee"]["delta"] != DELTA
    assert set(lost["canary_guarantee"]) == {"void"} and lost["lost_guarantee"] == below["canary_guarantee"]
    assert "lost_guarantee" not in below


def test_an_over_fitted_release_without_privacy_loses_more_than_one(tmp_path, tiny_text):
    found = measured_alone(audit_of(tmp_path, tiny_text, BASELINE))
    assert values(found)["epsilon_lower"] > 1


@pytest.mark.slow
@pytest.mark.usefixtures("remembered_divergences")
def test_a_private_release_exceeds_its_claim_at_most_three_times_in_twenty(tmp_path, tiny_text):
    """At a delta that the one-run bound can bear. The claim is that of the canary releases, the only ones trained."""
    private = '[[defense]]\nname = "dp_sgd"\nnoise_multiplier = 6.0\ndelta = 1e-5\nsteps = 40\nbatch = 40\nlr = 0.01\n'
    above = 0
    for seed in range(20):
        found = measured_alone(audit_of(tmp_path, tiny_text, private, seed), draws=2)
        claim = found.info["canary_guarantee"]["epsilon"]
        assert 1 < claim < values(found)["epsilon_ceiling"] and "ceiling-below-guarantee" not in found.flags
        above += values(found)["epsilon_lower"] > claim
    assert above <= 3


def test_evidence_is_plain_arrays():
    found = CanaryEvidence(np.zeros(3), np.ones(3, dtype=bool)).arrays
    assert {name: array.dtype.kind for name, array in found.items()} == {"scores": "f", "included": "b"}
