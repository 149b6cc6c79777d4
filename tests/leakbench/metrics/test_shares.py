"""Shares of sets from the evidence of an attack, by image and by group."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.metrics.evaluate.membership import evaluate_record
from leakbench.metrics.evaluate.shares import estimate_shares
from leakbench.results.evidence import MembershipEvidence

SIDES = ("member", "nonmember", "calibration_member", "calibration_nonmember")


def evidence(count=120, shift=4.0):
    draw = np.random.default_rng(0)
    return MembershipEvidence(*(draw.normal(shift * (i % 2 == 0), 1, count) for i in range(4)))


def test_a_strong_attack_finds_the_shares():
    found = {one.name: one for one in estimate_shares(evidence()).metrics}
    assert list(found) == [f"share_estimate@share={share}" for share in ("0", "0.5", "1")]
    for name, one in found.items():
        truth = float(name.partition("=")[2])
        assert one.value == pytest.approx(truth, abs=0.06) and one.ci_low <= truth <= one.ci_high and one.n == 120


def test_they_stand_in_records_of_attacks_on_sets_alone():
    with_sets, without = (evaluate_record(evidence(), False, None, sets) for sets in (True, False))
    names = [[one.name for one in found.metrics if one.name.startswith("share_")] for found in (with_sets, without)]
    assert len(names[0]) == 3 and not names[1]


def test_sets_are_of_groups_where_images_come_in_groups():
    of = {f"{side}_groups": np.repeat(np.arange(30), 4) + 30 * i for i, side in enumerate(SIDES)}
    found = estimate_shares(MembershipEvidence(**(evidence().arrays | of)))
    assert {one.n for one in found.metrics} == {30}


def test_too_few_known_images_say_nothing():
    few = evidence(1)
    assert not estimate_shares(few).metrics
