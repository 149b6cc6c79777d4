"""`leakbench.score`: the numbers of `leakbench score` and of the statistics, on arrays; bad arrays are one line."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import leakbench as lb
from leakbench.api import MembershipEvidence
from leakbench.metrics.evaluate.membership import evaluate_membership
from leakbench.runtime.errors import UsageError
from leakbench.statistics import auc, by_class, exposed, set_inference, smallest_detectable_auc, tpr_at_fpr

RNG = np.random.default_rng(0)
MEMBER, NONMEMBER = RNG.normal(0.8, 1, 150), RNG.normal(size=120)
INSIDE, OUTSIDE = RNG.normal(0.8, 1, 60), RNG.normal(size=60)
LABELS, OTHERS = np.repeat([2, 7], 75), np.repeat([2, 7], 60)
CALIBRATION = {"calibration_member": INSIDE, "calibration_nonmember": OUTSIDE}


def test_without_calibration_numbers_are_those_of_the_statistics():
    results = lb.score(MEMBER, NONMEMBER)
    table = results.table().set_index("metric")
    assert list(table.index) == ["auc", "tpr@fpr=0.1", "tpr@fpr=0.01", "tpr@fpr=0.001"]
    assert results.metric("auc") == auc(MEMBER, NONMEMBER)
    for name, target in (("tpr@fpr=0.1", 0.1), ("tpr@fpr=0.01", 0.01)):
        found = tpr_at_fpr(MEMBER, NONMEMBER, target)
        assert results.metric(name) == found.estimate
        assert table.loc[name, ["value", "low", "high", "n", "realised_fpr"]].tolist() == [
            *(found.estimate.value, found.estimate.low, found.estimate.high, found.estimate.n),
            found.realised_fpr,
        ]
    assert math.isnan(table.loc["auc", "realised_fpr"]) and 0.5 < table.loc["auc", "would_have_seen"] < 0.65
    assert "few-negatives" in results.flags and results.orientation == 1
    assert results.verdicts[0].startswith(f"leaks: AUC {auc(MEMBER, NONMEMBER).value:.2f}")


def test_with_calibration_numbers_are_those_of_a_record():
    results = lb.score(-MEMBER, -NONMEMBER, **{name: -scores for name, scores in CALIBRATION.items()})
    record = evaluate_membership(MembershipEvidence(-MEMBER, -NONMEMBER, -INSIDE, -OUTSIDE), blind=False)
    table = results.table()
    assert list(table["metric"]) == [one.name for one in record.metrics]
    for key, field in (("value", "value"), ("low", "ci_low"), ("high", "ci_high"), ("n", "n")):
        assert list(table[key]) == [getattr(one, field) for one in record.metrics]
    assert results.flags == sorted(record.flags) and results.orientation == -1
    assert results.exposed(3) == exposed(MEMBER, NONMEMBER, 3)
    assert results.metric("oriented_auc") == auc(MEMBER, NONMEMBER)


def test_sets_and_classes_are_those_of_the_statistics():
    results = lb.score(MEMBER, NONMEMBER, member_labels=LABELS, nonmember_labels=OTHERS)
    assert results.sets == set_inference(MEMBER, NONMEMBER)
    assert results.classes == by_class(MEMBER, LABELS, NONMEMBER, OTHERS)
    assert lb.score(MEMBER, NONMEMBER).classes is None


def test_the_command_prints_the_same_numbers(leakbench, tmp_path):
    arrays = {"member_scores": MEMBER, "nonmember_scores": NONMEMBER}
    np.savez(tmp_path / "a.npz", **arrays, **{f"{name}_scores": scores for name, scores in CALIBRATION.items()})
    lines = [line.split() for line in leakbench("score", tmp_path / "a.npz").out.splitlines()]
    for row in lb.score(MEMBER, NONMEMBER, **CALIBRATION).table().to_dict("records"):
        numbers = [f"{row['value']:.4g}", f"[{row['low']:.4g},", f"{row['high']:.4g}]", str(row["n"])]
        assert [line[1:5] for line in lines if line[:1] == [row["metric"]]] == [numbers]


@pytest.mark.parametrize("form", [list, torch.from_numpy, lambda array: array[:, None], np.float64])
def test_scores_may_be_lists_tensors_and_columns(form):
    assert lb.score(form(MEMBER), form(NONMEMBER)).metric("auc") == auc(MEMBER, NONMEMBER)


BAD = {
    "text": ((["a", "b"], NONMEMBER), {}, ["member: dtype is <U1", "numbers"]),
    "shape": ((MEMBER, NONMEMBER.reshape(60, 2)), {}, ["nonmember: shape is (60, 2)", "(N,)"]),
    "too few": ((MEMBER[:1], NONMEMBER), {}, ["member: has 1 scores", "at least 2"]),
    "nothing": ((None, None), {}, ["member and nonmember are None"]),
    "a side": ((MEMBER, None), {}, ["'nonmember' is missing"]),
    "a calibration side": ((MEMBER, NONMEMBER), {"calibration_member": INSIDE}, ["'calibration_nonmember' is missing"]),
    "labels": (
        (MEMBER, NONMEMBER),
        {"member_labels": [1], "nonmember_labels": OTHERS},
        ["member_labels: shape is (1,)", "(150,)"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_one_line(case):
    arrays, more, words = BAD[case]
    with pytest.raises(lb.UsageError) as caught:
        lb.score(*arrays, **more)
    assert str(caught.value).startswith("leakbench.score: ") and "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_metric_says_what_there_is():
    with pytest.raises(lb.UsageError, match="no metric 'acu' of these scores; did you mean 'auc'"):
        lb.score(MEMBER, NONMEMBER).metric("acu")


# Groups ---------------------------------------------------------------------------------------------------------------

PEOPLE, OTHER_PEOPLE = np.arange(150) // 5, 1000 + np.arange(120) // 5
NAMED = {
    "member_group": [f"Ann {number:02}" for number in PEOPLE],
    "nonmember_group": [f"Bob {number}" for number in OTHER_PEOPLE],
}


@pytest.mark.parametrize("calibrated", [False, True])
def test_with_groups_numbers_are_those_of_the_statistics_by_group(calibrated):
    whose = PEOPLE, OTHER_PEOPLE
    results = lb.score(MEMBER, NONMEMBER, **(CALIBRATION if calibrated else {}), **NAMED)
    table = results.table().set_index("metric")
    assert results.metric("auc") == auc(MEMBER, NONMEMBER, groups=whose)
    assert results.metric("tpr@fpr=0.1") == tpr_at_fpr(MEMBER, NONMEMBER, 0.1, groups=whose).estimate
    assert table.loc["auc", "groups"] == 24 and table.loc["auc", "n"] == 120
    assert table.loc["auc", "would_have_seen"] == smallest_detectable_auc(24)
    assert results.sets == set_inference(MEMBER, NONMEMBER, groups=whose)
    assert results.nonmembers == 24 and "shared-groups" not in results.flags
    classes = lb.score(MEMBER, NONMEMBER, member_labels=LABELS, nonmember_labels=OTHERS, **NAMED).classes
    assert classes == by_class(MEMBER, LABELS, NONMEMBER, OTHERS, groups=whose)


def test_one_person_has_one_number_everywhere():
    both = lb.score(
        *(MEMBER, NONMEMBER),
        member_group=["7", *PEOPLE[1:].astype(str)],
        nonmember_group=["007", *OTHER_PEOPLE[1:].astype(str)],
        **CALIBRATION,
        calibration_member_group=np.arange(60) + 5000,
        calibration_nonmember_group=np.arange(60) + 6000,
    )
    assert "shared-groups" in both.flags
    assert both.arrays.groups[0][0] == both.arrays.groups[1][0] == 7
    assert both.arrays.calibration_groups[1][-1] == 6059


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"member_group": PEOPLE}, "'nonmember_group' is missing; member_group and nonmember_group come together"),
        ({"member_group": PEOPLE[1:], "nonmember_group": OTHER_PEOPLE}, r"member_group: shape is \(149,\)"),
        ({"member_group": PEOPLE + 0.5, "nonmember_group": OTHER_PEOPLE}, "member_group: must be whole numbers"),
        ({"member_group": [""] * 150, "nonmember_group": OTHER_PEOPLE}, "member_group: is empty at 0"),
        (
            {"calibration_member_group": PEOPLE, "calibration_nonmember_group": PEOPLE},
            "calibration_member_group: there are no scores of these images",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        lb.score(MEMBER, NONMEMBER, **given)


def test_one_image_a_group_is_no_groups():
    alone = {"member_group": np.arange(150), "nonmember_group": 200 + np.arange(120)}
    grouped, plain = (lb.score(MEMBER, NONMEMBER, **CALIBRATION, **more).table() for more in (alone, {}))
    assert grouped.drop(columns="groups").equals(plain)
