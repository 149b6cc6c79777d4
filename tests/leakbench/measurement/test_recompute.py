"""Recomputing a record: the arrays that each family writes give its numbers again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from leakbench.measurement.recompute import RECOMPUTED_FLAGS, RecordArrays, recompute_record
from leakbench.metrics.evaluate.attribute import evaluate_attribute
from leakbench.metrics.evaluate.auditing import evaluate_auditing
from leakbench.metrics.evaluate.membership import ForgetMasks, evaluate_record
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning, flatten_evidence, unflatten_evidence
from leakbench.results.evidence import (
    AttributeEvidence,
    CanaryEvidence,
    MembershipEvidence,
    PairedScores,
    RecoveryCurve,
    UnlearningEvidence,
    UnlearningGroups,
    UnlearningScores,
)
from leakbench.results.guarantee import Guarantee
from leakbench.results.record import Record

RNG = np.random.default_rng(0)


def scores(n, shift=0.0):
    return RNG.normal(shift, 1, n)


def groups(n):
    return RNG.integers(0, 12, n)


UNLEARNING = UnlearningEvidence(
    {
        "forget": PairedScores(
            UnlearningScores(scores(30, 1), scores(40), scores(20)),
            UnlearningScores(scores(30), scores(40), scores(20)),
            scores(50),
            UnlearningGroups(groups(30), groups(40), groups(20)),
        ),
        "forget_model": PairedScores(
            UnlearningScores(scores(30), scores(40)), UnlearningScores(scores(30), scores(40))
        ),
    },
    {"relearn": RecoveryCurve(np.arange(4), RNG.random((4, 25)), RNG.random((4, 25)), RNG.random(30))},
)
MEMBERSHIP = MembershipEvidence(*(scores(n) for n in (40, 50, 20, 20)), *(groups(n) for n in (40, 50, 20, 20)))
MASKS = ForgetMasks(RNG.random(40) < 0.4, RNG.random(50) < 0.4)
ATTRIBUTE = AttributeEvidence(scores(30, 1), scores(20), scores(15), scores(15), null_one_groups=groups(15))
CANARIES = CanaryEvidence(scores(80), RNG.random(80) < 0.5)

FOUND = {  # family: what its attack's record holds, and what it was written of
    "membership": (evaluate_record(MEMBERSHIP, False, MASKS, False), MEMBERSHIP.arrays | MASKS.arrays, {}, {}),
    "unlearning": (evaluate_unlearning(UNLEARNING), flatten_evidence(UNLEARNING), {}, {}),
    "attribute": (evaluate_attribute(ATTRIBUTE, balanced=True), ATTRIBUTE.arrays, {}, {"of": "samples"}),
    "auditing": (
        evaluate_auditing(CANARIES, 0.5, 1e-6, Guarantee(epsilon=0.0)),
        dataclasses.asdict(CANARIES),
        {"guesses": 0.5},
        {"canary_guarantee": {"epsilon": 0.0, "delta": 1e-6}},
    ),
}


@pytest.mark.parametrize("family", FOUND)
def test_a_record_is_computed_again_from_its_arrays(family):
    told, arrays, parameters, facts = FOUND[family]
    record = Record(
        suite="tiny",
        dataset="digits",
        model="mlp",
        defense="baseline",
        point="baseline",
        defense_params={},
        attack="mine",
        attack_params=parameters,
        family=family,
        access="WEIGHTS",
        seed=0,
        metrics=told.metrics,
        info=told.info | facts,
    )
    follows = recompute_record(record, RecordArrays(arrays))
    assert follows.metrics == told.metrics and len(follows.metrics) > 3
    assert follows.flags == told.flags <= RECOMPUTED_FLAGS[family]
    assert follows.info == told.info


def test_the_arrays_of_unlearning_give_their_evidence_back():
    again = unflatten_evidence(flatten_evidence(UNLEARNING))
    assert flatten_evidence(again).keys() == flatten_evidence(UNLEARNING).keys()
    for name, array in flatten_evidence(again).items():
        np.testing.assert_array_equal(array, flatten_evidence(UNLEARNING)[name])
    assert again.scores.keys() == UNLEARNING.scores.keys() and again.curves.keys() == UNLEARNING.curves.keys()
