"""From raw scores to metrics: the sign comes from calibration images and from nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leakbench.api import MembershipEvidence
from leakbench.metrics.evaluate.membership import evaluate_membership, forget_set_auc, oriented_scores

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
    reversed_scores = MembershipEvidence(*(-scores for scores in vars(upright).values()))
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


def value(found, name):
    return next(m.value for m in found.metrics if m.name == name)
