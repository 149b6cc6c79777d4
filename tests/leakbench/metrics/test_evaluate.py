"""From raw scores to metrics: the sign comes from calibration images and from nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leakbench.api import MembershipEvidence
from leakbench.metrics.evaluate.membership import (
    dataset_inference,
    evaluate_membership,
    forget_set_auc,
    oriented_scores,
)

RANDOM = np.random.default_rng(0)


def found(shift: float, calibration_shift: float) -> tuple[MembershipEvidence, dict[str, float], set[str]]:
    evidence = MembershipEvidence(
        RANDOM.normal(shift, 1, 300),
        RANDOM.normal(0, 1, 300),
        RANDOM.normal(calibration_shift, 1, 60),
        RANDOM.normal(0, 1, 60),
    )
    findings = evaluate_membership(evidence, blind=False)
    return evidence, {m.name: m.value for m in findings.metrics}, findings.flags


def raw_auc(evidence: MembershipEvidence) -> float:
    truth = np.repeat([1, 0], [300, 300])
    return roc_auc_score(truth, np.concatenate([evidence.member_scores, evidence.nonmember_scores]))


def test_an_inverted_attack_is_read_the_other_way_round():
    evidence, metrics, flags = found(-2.0, -2.0)
    assert metrics["auc"] == pytest.approx(raw_auc(evidence)) and "inverted" in flags
    assert metrics["oriented_auc"] == pytest.approx(1 - metrics["auc"])
    caught = np.mean(evidence.member_scores < np.sort(evidence.nonmember_scores)[30])  # 30 of 300 false alarms
    assert metrics["oriented_tpr@fpr=0.1"] == pytest.approx(caught) and caught > 0.5
    assert metrics["tpr@fpr=0.1"] < 0.05 and metrics["balanced_accuracy"] > 0.7


def test_reported_labels_have_no_say_in_the_sign():
    """Calibration says "higher", the reported images say "lower": the reading stays the calibration's."""
    _, metrics, _ = found(-2.0, 2.0)
    assert metrics["oriented_auc"] == metrics["auc"] < 0.2
    assert metrics["oriented_tpr@fpr=0.1"] == metrics["tpr@fpr=0.1"]


def test_an_upright_attack_has_one_reading():
    _, metrics, flags = found(1.0, 1.0)
    assert all(metrics[f"oriented_{name}"] == metrics[name] for name in ("auc", "tpr@fpr=0.1", "tpr@fpr=0.01"))
    assert "inverted" not in flags


def test_a_score_that_is_no_number_is_the_least_member_like_of_either_sign():
    """Read upside down, NaN must not become the surest member: the metrics are those of the least score that there is
    in the direction in which the scores are read."""
    random = np.random.default_rng(1)
    upright = MembershipEvidence(*(random.normal(shift, 1, 200) for shift in (2.0, 0.0, 2.0, 0.0)))
    reversed_scores = MembershipEvidence(*(-scores for scores in upright.arrays.values()))
    for scores in (upright.member_scores, reversed_scores.member_scores):
        scores[:20] = np.nan
    ours, theirs = (evaluate_membership(one, blind=False) for one in (upright, reversed_scores))
    names = [m.name for m in ours.metrics if m.name.startswith("oriented_") or m.name == "balanced_accuracy"]
    assert theirs.info["orientation"] == -1 and len(names) == 5
    worst = np.where(np.isnan(upright.member_scores), -1e9, upright.member_scores)
    truth = np.repeat([1, 0], [200, 200])
    assert value(theirs, "oriented_auc") == pytest.approx(
        roc_auc_score(truth, np.concatenate([worst, upright.nonmember_scores]))
    )
    assert [value(theirs, name) for name in names] == [value(ours, name) for name in names]
    assert all(
        np.array_equal(a, b) for a, b in zip(oriented_scores(upright), oriented_scores(reversed_scores), strict=True)
    )
    everybody = np.ones(200, dtype=bool)
    forgotten = [
        value(forget_set_auc(evidence, everybody, everybody, sign), "oriented_forget_auc")
        for evidence, sign in ((upright, 1.0), (reversed_scores, -1.0))
    ]
    assert forgotten[0] == forgotten[1]


def test_groups_of_the_evidence_reach_every_interval():
    """Five images a person, strongly alike: the same values, wider intervals, and persons counted."""
    random = np.random.default_rng(2)
    plain, whose = [], []
    for number, shift in enumerate((1.0, 0.0, 1.0, 0.0)):
        plain.append(np.repeat(random.normal(shift, 1, 40), 5) + random.normal(0, 0.3, 200))
        whose.append(np.repeat(np.arange(40), 5) + 100 * number)
    by_image, by_group = (MembershipEvidence(*plain), MembershipEvidence(*plain, *whose))
    ours, theirs = (evaluate_membership(one, blind=False) for one in (by_group, by_image))
    assert [m.name for m in ours.metrics] == [m.name for m in theirs.metrics]
    for group, image in zip(ours.metrics, theirs.metrics, strict=True):
        assert group.value == image.value and group.n == image.n
        assert (group.n_groups, image.n_groups) == (40, None)
        assert group.ci_high - group.ci_low > 1.2 * (image.ci_high - image.ci_low)
    assert ours.info["group_z"] < theirs.info["group_z"] / 1.5 and ours.flags == {*theirs.flags, "few-negatives"}
    forgotten = np.arange(200) < 100
    first, second = (forget_set_auc(one, forgotten, forgotten, 1.0).metrics[0] for one in (by_group, by_image))
    assert first.n_groups == 20 and first.ci_low < second.ci_low and first.value == second.value
    names = {m.name for m in dataset_inference(by_group).metrics}
    assert names == {f"{name}@groups={n}" for name in ("set_p_value", "set_null_p_value") for n in (5, 10, 20)}


def few(member, nonmember, *whose):
    none = np.empty(0)
    groups = (*whose, none, none) if whose else ()
    return evaluate_membership(MembershipEvidence(member, nonmember, none, none, *groups), blind=True)


def test_the_rank_of_one_person_voids_no_track_that_its_p_value_does_not():
    """Above all of 60 others p is 1/61, above 1 %, and above all of 100 it is 1/101. Three people are three units."""
    member = np.array([200.0, 201.0, 202.0])
    for others, void in ((60, False), (100, True)):
        found = few(member, np.arange(float(others)), np.zeros(3, dtype=int), np.arange(1, 1 + others))
        assert found.info["exact_p_value"] == pytest.approx(1 / (1 + others))
        assert ("track-invalid" in found.flags) is void
    for groups in ((), (np.arange(3), np.arange(3, 63))):
        assert "track-invalid" in few(member, np.arange(60.0), *groups).flags


def test_people_on_both_sides_of_few_images_are_flagged():
    scores = np.array([0.3, 0.1, 0.2]), np.arange(20.0)
    assert "shared-groups" in few(*scores, np.arange(3), np.arange(2, 22)).flags
    assert not {"shared-groups"} & (few(*scores, np.arange(3), np.arange(3, 23)).flags | few(*scores).flags)


def test_evidence_without_groups_has_the_arrays_that_it_always_had():
    evidence = MembershipEvidence(*(np.zeros(3) for _ in range(4)))
    assert list(evidence.arrays) == [
        "member_scores",
        "nonmember_scores",
        "calibration_member_scores",
        "calibration_nonmember_scores",
    ]


def value(found, name):
    return next(m.value for m in found.metrics if m.name == name)
