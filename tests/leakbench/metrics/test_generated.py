"""The generated-sample control: style is told from membership, at the error rate that is stated."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.metrics.evaluate.generated import judge_generated
from leakbench.metrics.evaluate.membership import TARGETS, evaluate_record
from leakbench.results.evidence import MembershipEvidence


def evidence(draw, of_members, of_generated, count=150, sign=1.0):
    """Normal scores; nonmembers around 0, members and generated images around what is said."""
    member, nonmember, inside, outside, own = (
        sign * draw.normal(shift, 1, count) for shift in (of_members, 0, of_members, 0, of_generated)
    )
    return MembershipEvidence(member, nonmember, inside, outside, generated_scores=own)


def style_rate(of_members, of_generated, runs=200):
    draw = np.random.default_rng(7)
    judged = [judge_generated(evidence(draw, of_members, of_generated), 1.0, TARGETS) for _ in range(runs)]
    return sum("detects-style" in one.flags for one in judged) / runs


def test_an_attack_on_membership_is_not_called_style_and_one_on_style_is():
    """3,000 simulated: 0 where own samples score as nonmembers do below members, .029 where all three score alike
    (nominal .025), .976 where own samples score as members do (nominal .975)."""
    assert style_rate(0.7, 0.0, 50) == 0
    assert style_rate(0.0, 0.0, 400) <= 0.05
    assert style_rate(1.0, 1.0) >= 0.94


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_three_numbers_have_the_sign_of_calibration(sign):
    draw = np.random.default_rng(0)
    found = evaluate_record(evidence(draw, 2.0, 1.0, 400, sign), False, None, False)
    numbers = {one.name: one for one in found.metrics}
    for name, truth in {
        "generated_auc": 0.760,  # Phi(1 / sqrt(2))
        "generated_vs_nonmembers_auc": 0.760,
        "generated_rate@fpr=0.1": 0.389,  # 1 - Phi(1.2816 - 1)
        "generated_rate@fpr=0.01": 0.092,
    }.items():
        assert numbers[name].ci_low < truth < numbers[name].ci_high, name
    assert "detects-style" not in found.flags


def test_without_generated_scores_nothing_is_added():
    plain = evidence(np.random.default_rng(1), 1.0, 0.0)
    bare = MembershipEvidence(*(getattr(plain, f"{name}_scores") for name in SIDES))
    names = [one.name for one in evaluate_record(bare, False, None, False).metrics]
    assert not any(name.startswith("generated") for name in names)


SIDES = ("member", "nonmember", "calibration_member", "calibration_nonmember")


def test_every_generated_image_is_a_group_of_its_own():
    one = evidence(np.random.default_rng(2), 1.0, 0.0, 60)
    of = np.repeat(np.arange(20), 3)
    grouped = MembershipEvidence(**(one.arrays | {f"{side}_groups": of + 20 * i for i, side in enumerate(SIDES)}))
    found = {m.name: m for m in judge_generated(grouped, 1.0, TARGETS).metrics}
    assert found["generated_auc"].n_groups == 20
    assert found["generated_rate@fpr=0.1"].n_groups == 60
