"""Who may use a defense, and where it falls to an attacker who knows it: said only where intervals show it."""

from __future__ import annotations

import pytest

from leakbench.reports.reading.adaptive import defeat_by_adaptive
from leakbench.reports.reading.aggregate import Aggregate
from leakbench.reports.reading.leakage import Leak
from leakbench.reports.reading.verdicts import judge_leak, list_membership_verdicts, verdict_kind
from leakbench.reports.sections.audience import list_audiences
from leakbench.reports.site.report import render
from leakbench.results.record_files import save_record
from leakbench.statistics import Estimate, delong_pair


def point(run, name):
    return next(point for point in run.plan.points if point.name == name)


def test_a_defense_that_answers_as_its_weights_do_is_no_question(army):
    assert [audience.defense for audience in list_audiences(army)] == ["cpsample"]


def test_attackers_stand_side_by_side_beside_the_baseline(army):
    (audience,) = list_audiences(army)
    assert [row[0] for row in audience.cells] == ["baseline", "cpsample alpha=0.1", "cpsample alpha=0.5"]
    last = dict(zip(audience.titles, audience.cells[-1], strict=True))
    assert last["answers, defense known"].startswith("adaptive_cpsample 0.7")
    assert not last["answers, defense unknown"].startswith("adaptive")
    assert dict(zip(audience.titles, audience.cells[0], strict=True))["answers, defense known"] == "-"
    assert last["weights"] == dict(zip(audience.titles, audience.cells[0], strict=True))["weights"]


def test_each_way_of_sharing_has_its_sentence(army):
    samples, api, answers, weights = list_audiences(army)[0].sentences
    assert samples.startswith("Whoever **hands out samples alone**: ")
    assert "no leak was found, where baseline leaks (alpha=0.5)" in api
    assert "leaks less than baseline, and still leaks (alpha=0.5)" in answers
    assert answers.endswith("An attacker who knows the defense defeats it: alpha=0.5 by adaptive_cpsample.")
    assert weights == (
        "Whoever **hands out the weights**: gains nothing against these attacks: leaks what baseline leaks, number for "
        "number (at every point)."
    )


def test_a_fall_is_paired_on_the_same_images_and_asks_for_more_than_every_other_attack(army):
    found = defeat_by_adaptive(army, point(army, "cpsample alpha=0.5"), "DENOISER")
    assert found.adaptive.attack == "adaptive_cpsample"
    for seed in (0, 1):
        own = [r for r in army.records if (r.point, r.seed, r.family) == ("cpsample alpha=0.5", seed, "membership")]
        own = {r.attack: r for r in own if r.metrics and r.access not in ("NONE", "WEIGHTS")}
        sides = {}
        for name, record in own.items():
            arrays, sign = army.arrays(record), record.info["orientation"]
            sides[name] = sign * arrays["member_scores"], sign * arrays["nonmember_scores"]
        ours = sides.pop("adaptive_cpsample")
        pairs = [delong_pair(*ours, *theirs) for theirs in sides.values()]
        assert all(pair.difference.value > 0 and pair.p_value < 0.1 for pair in pairs)
    assert defeat_by_adaptive(army, point(army, "baseline"), "DENOISER") is None


def test_it_is_named_in_the_verdicts(army):
    found = list_membership_verdicts(army, point(army, "cpsample alpha=0.5"))
    by_level = {level: one for one in found for level in one.levels}
    assert by_level["DENOISER"].defeat is not None and by_level["WEIGHTS"].defeat is None
    assert "    - defeated by its adaptive attack (adaptive_cpsample AUC 0.7" in render(army)


def test_a_defense_does_not_fall_to_an_attack_that_is_no_better(tmp_path, muster_run, army):
    """The same run, where the adaptive attack found what the strongest other one did."""
    names = ["baseline", "cpsample alpha=0.5"]
    kept = [{**p.model_dump(), "truth": (1.0 * (p.role == "baseline"), 0.1, 4.0)} for p in army.plan.points]
    kept = [p for p in kept if p["point"] in names]
    run = muster_run(tmp_path, seeds=(0,), points=kept, attacks=("sima", "adaptive_cpsample"))
    records = {r.attack: r for r in run.records if (r.point, r.access) == (names[1], "DENOISER")}
    weak = run.arrays(records["sima"])
    same = records["adaptive_cpsample"].model_copy(update={"metrics": records["sima"].metrics})
    save_record(tmp_path, same, weak)
    again = type(run)(tmp_path)
    assert defeat_by_adaptive(again, point(again, names[1]), "DENOISER") is None
    (audience,) = list_audiences(again)
    assert "was not shown to find more than those that do not" in audience.sentences[0]


def test_without_an_attack_that_knows_the_defense_nothing_is_said_of_its_owner(tmp_path, muster_run, army):
    kept = [{**p.model_dump(), "truth": (1.0 * (p.role == "baseline"), 0.1, 4.0)} for p in army.plan.points[:3]]
    run = muster_run(tmp_path, seeds=(0,), points=kept, attacks=("sima", "loss"))
    assert "No attack that knows the defense was run" in list_audiences(run)[0].sentences[0]


def leak(aucs, tprs=(), target="0.1"):
    told = [Aggregate("auc", dict(enumerate(aucs))), Aggregate(f"oriented_tpr@fpr={target}", dict(enumerate(tprs)))]
    return Leak("pia", told[0], told[1] if tprs else None)


HIGH, NONE, LOW = Estimate(0.9, 0.85, 0.95, 300), Estimate(0.5, 0.45, 0.55, 300), Estimate(0.1, 0.05, 0.2, 300)
SURE, UNSURE = Estimate(0.34, 0.29, 0.39, 300), Estimate(0.12, 0.07, 0.17, 300)


def test_a_verdict_names_the_headline_rate_first():
    assert judge_leak(leak([HIGH], [SURE])) == "leaks: TPR 34 % at FPR 10 % [29, 39]; AUC 0.90 [0.85, 0.95]"
    assert judge_leak(leak([NONE], [SURE])).startswith("leaks: TPR 34 % at FPR 10 % [29, 39]; AUC 0.50 [0.45, 0.55]")
    said = judge_leak(leak([HIGH], [UNSURE]))
    assert said == "leaks: AUC 0.90 [0.85, 0.95]; not shown at its surest guesses: TPR 12 % at FPR 10 % [7, 17]"
    none = judge_leak(leak([NONE], [UNSURE]))
    assert none.startswith("no leak found: AUC 0.50") and none.count("would have been found") == 2
    assert judge_leak(leak([LOW], [UNSURE])).startswith("leaks, inverted (members score lower): AUC 0.10")


def test_a_rate_of_too_few_false_alarms_judges_nothing():
    assert judge_leak(leak([NONE], [SURE], target="0.01")) == judge_leak(leak([NONE]))


def test_seeds_that_disagree_are_told_apart():
    said = judge_leak(leak([HIGH, NONE], [SURE, UNSURE]))
    assert said.startswith("seeds disagree: seed 0: leaks: TPR 34 %") and "; seed 1: no leak found" in said
    assert verdict_kind(Aggregate("auc", {0: HIGH, 1: NONE})) == "disagree"
    assert [verdict_kind(Aggregate("auc", {0: one})) for one in (HIGH, NONE, LOW)] == ["leaks", "none", "inverted"]
    assert verdict_kind(None) == "unknown"


def test_levels_of_one_computation_are_judged_once(run):
    found = list_membership_verdicts(run, point(run, "baseline"))
    assert [one.levels for one in found] == [["DENOISER", "WEIGHTS"]]
    defended = list_membership_verdicts(run, point(run, "cpsample alpha=0.5"))
    assert [one.levels for one in defended] == [["DENOISER"], ["WEIGHTS"]]


@pytest.mark.parametrize(("metrics", "expected"), [((), []), ((0.5,), [["DENOISER", "WEIGHTS"]])])
def test_a_point_without_numbers_has_no_verdict(tmp_path, tell_run, metrics, expected):
    told = {"auc": (0.6, 0.55, 0.65), "calibration_auc": 0.6} if metrics else {}
    where = {"point": "baseline", "defense": "baseline", "role": "baseline", "attacks": {"loss": told}}
    run = tell_run(tmp_path, [where])
    assert [one.levels for one in list_membership_verdicts(run, run.plan.points[0])] == [
        level[:1] for level in expected
    ]
