"""`leakbench score` and `leakbench power`: the statistics' numbers, and one line for what is wrong with a file."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.api import MembershipEvidence
from leakbench.metrics.evaluate.membership import evaluate_membership
from leakbench.statistics import auc, by_class, effective_images, set_inference, smallest_detectable_auc, tpr_at_fpr

RNG = np.random.default_rng(0)
MEMBER, NONMEMBER = RNG.normal(0.8, 1, 150), RNG.normal(size=120)
INSIDE, OUTSIDE = RNG.normal(0.8, 1, 60), RNG.normal(size=60)
APART = {"member_scores": MEMBER, "nonmember_scores": NONMEMBER}
CALIBRATION = {"calibration_member_scores": INSIDE, "calibration_nonmember_scores": OUTSIDE}


@pytest.fixture
def score(leakbench, tmp_path):
    """score(**arrays): `leakbench score` of a file with these arrays."""

    def run(**arrays):
        np.savez(tmp_path / "mine.npz", **arrays)
        return leakbench("score", tmp_path / "mine.npz")

    return run


def row(outcome, name):
    """The cells of the one line whose first cell is `name`."""
    (line,) = [line.split() for line in outcome.out.splitlines() if line.split()[:1] == [name]]
    return line


def cells(estimate):
    return [f"{estimate.value:.4g}", f"[{estimate.low:.4g},", f"{estimate.high:.4g}]", str(estimate.n)]


def test_numbers_are_those_of_the_statistics(score):
    outcome = score(**APART)
    assert outcome.code == 0
    assert row(outcome, "auc")[1:5] == cells(auc(MEMBER, NONMEMBER))
    for name, target in (("tpr@fpr=0.1", 0.1), ("tpr@fpr=0.01", 0.01), ("tpr@fpr=0.001", 0.001)):
        found = tpr_at_fpr(MEMBER, NONMEMBER, target)
        assert row(outcome, name)[1:6] == [*cells(found.estimate), f"{found.realised_fpr:.4g}"]
    assert f"leaks: AUC {auc(MEMBER, NONMEMBER).value:.2f}" in outcome.out
    assert "few-negatives" in outcome.out


def test_sets_are_tested(score):
    inference = set_inference(MEMBER, NONMEMBER)
    outcome = score(**APART)
    lines = [line.split() for line in outcome.out.split("images in a set")[1].splitlines()]
    assert [line[:2] for line in lines[1:6]] == [[str(one.size), f"{one.p_value:.3g}"] for one in inference.by_size]
    assert f"{inference.smallest} images are distinguished from nonmembers" in outcome.out


def test_scores_and_member_are_the_same_thing(score):
    order = np.random.default_rng(1).permutation(270)
    scores, member = np.r_[MEMBER, NONMEMBER][order], (np.arange(270) < 150)[order]
    apart, together = score(**APART), score(scores=scores, member=member)
    assert row(together, "auc") == row(apart, "auc")
    assert score(scores=scores[:, None], member=member.astype(int)[:, None].ravel()).out == together.out
    highest = int(np.flatnonzero(member)[np.argmax(scores[member])])
    assert row(together, str(highest))[1] == row(apart, str(np.argmax(MEMBER)))[1] == f"{MEMBER.max():.6g}"


def test_most_exposed_members_come_by_their_position(score):
    member = MEMBER.copy()
    member[[7, 140]] = [90.0, 80.0]
    lines = score(member_scores=member, nonmember_scores=NONMEMBER).out.split("most exposed member")[1].splitlines()
    assert [line.split() for line in lines[1:3]] == [["7", "90", "0"], ["140", "80", "0"]]


def test_calibration_gives_the_metrics_of_a_record(score):
    outcome = score(**APART, **CALIBRATION)
    for one in evaluate_membership(MembershipEvidence(MEMBER, NONMEMBER, INSIDE, OUTSIDE), blind=False).metrics:
        assert row(outcome, one.name)[1:4] == [f"{one.value:.4g}", f"[{one.ci_low:.4g},", f"{one.ci_high:.4g}]"]
    assert "calibration-leaks" not in outcome.out
    assert "read as they are" in outcome.out


def test_calibration_turns_scores_that_run_the_other_way(score):
    outcome = score(**{key: -array for key, array in (APART | CALIBRATION).items()})
    assert "inverted" in row(outcome, "flags")
    assert "reversed" in outcome.out
    assert row(outcome, str(np.argmax(MEMBER)))[1] == f"{MEMBER.max():.6g}"
    assert row(outcome, "oriented_auc")[1] == f"{auc(MEMBER, NONMEMBER).value:.4g}"


def test_scores_that_run_the_other_way_are_told_once_and_nothing_is_read_from_the_wrong_end(score):
    outcome = score(**{key: -array for key, array in APART.items()})
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    said = " ".join(lines)
    assert "verdict leaks, inverted (members score lower): AUC" in said
    assert said.count("lower means member in these scores: negate all scores, or give scores of calibration") == 1
    for words in ("no leak found", "most exposed", "images in a set"):
        assert words not in said
    right = " ".join(score(**APART).out.split())
    assert "lower means member" not in right and "most exposed" in right


def test_with_calibration_every_verdict_is_of_the_scores_as_they_are_read(score):
    turned = score(**{key: -array for key, array in (APART | CALIBRATION).items()}).out
    verdicts = [line for line in score(**APART, **CALIBRATION).out.splitlines() if line.startswith("verdict")]
    assert [line for line in turned.splitlines() if line.startswith("verdict")] == verdicts
    against = {key: -array for key, array in CALIBRATION.items()}
    assert "the calibration scores ask for the other sign" in " ".join(score(**APART, **against).out.split())


def test_flags_are_explained_in_a_line_each(score):
    said = " ".join(score(**APART).out.split())
    assert "few-negatives: a TPR was measured at a false-positive rate below 10 / nonmembers" in said


def test_what_is_no_number_is_counted_and_named_by_its_position(score):
    members, others = MEMBER.copy(), NONMEMBER.copy()
    members[[3, 8, 20, 21, 22, 140]] = np.nan
    others[5] = np.inf
    apart = " ".join(score(member_scores=members, nonmember_scores=others).out.split())
    assert "6 of 150 members NaN (at 3, 8, 20, 21, 22, ...), counted as the least member-like score" in apart
    assert "1 of 120 nonmembers inf (at 5), counted as larger than every other number" in apart
    scores, member = np.r_[others, members], np.arange(270) >= 120
    together = " ".join(score(scores=scores, member=member).out.split())
    assert "6 of 150 members NaN (at 123, 128, 140, 141, 142, ...)" in together


def test_calibration_that_saw_its_own_images_is_flagged(score):
    outcome = score(**APART, calibration_member_scores=INSIDE + 5, calibration_nonmember_scores=OUTSIDE)
    assert "calibration-leaks" in outcome.out


def test_leakage_by_class(score):
    labels, others = np.repeat([2, 7, 9], [70, 77, 3]), np.repeat([2, 7], 60)
    outcome = score(**APART, member_labels=labels, nonmember_labels=others)
    for one in by_class(MEMBER, labels, NONMEMBER, others).classes:
        assert f"{one.label} {one.auc.value:.4g} [{one.auc.low:.4g}, {one.auc.high:.4g}]" in " ".join(
            outcome.out.split()
        )
    assert "left out, with fewer than 5 images on a side: 1" in outcome.out
    together = score(
        scores=np.r_[MEMBER, NONMEMBER], member=np.arange(270) < 150, labels=np.r_[labels, others].astype(np.int8)
    )
    assert together.out == outcome.out


def test_what_is_no_number_is_flagged_and_what_is_not_read_is_named(score):
    outcome = score(**{**APART, "member_scores": np.r_[MEMBER, np.nan]}, model="ddpm")
    assert outcome.code == 0
    assert "non-finite" in outcome.out
    assert row(outcome, "not")[1:] == ["read", "model"]


def test_what_is_no_number_is_never_the_most_exposed(score):
    """Members score lower here, and the scores are read upside down: NaN stays the least member-like."""
    reversed_scores = {name: -scores for name, scores in {**APART, **CALIBRATION}.items()}
    reversed_scores["member_scores"] = np.r_[np.full(20, np.nan), reversed_scores["member_scores"]]
    outcome = score(**reversed_scores)
    assert "reversed" in outcome.out
    listed = [line.split()[0] for line in outcome.out.split("most exposed member")[1].splitlines() if line.split()]
    positions = [int(word) for word in listed if word.isdigit()]
    assert positions and min(positions) >= 20


def test_no_leak_says_what_it_would_have_seen(score):
    outcome = score(member_scores=NONMEMBER[:60], nonmember_scores=NONMEMBER[60:])
    assert "no leak found: AUC" in outcome.out
    assert "(an AUC of 0.65 would have been found)" in outcome.out
    assert "(60 nonmembers are too few to find any)" in outcome.out


BAD = {
    "nothing": ({"scored": MEMBER}, ["'member_scores'", "missing", "scored"]),
    "one side": ({"member_scores": MEMBER}, ["'nonmember_scores'", "missing"]),
    "one calibration side": ({**APART, "calibration_member_scores": INSIDE}, ["'calibration_nonmember_scores'"]),
    "one side's labels": ({**APART, "member_labels": np.zeros(150, int)}, ["'nonmember_labels'"]),
    "labels of neither": ({**APART, "labels": np.zeros(270, int)}, ["labels", "member_labels"]),
    "both forms": ({**APART, "scores": MEMBER, "member": MEMBER > 0}, ["member_scores", "both there"]),
    "no member": ({"scores": MEMBER}, ["'member'", "missing"]),
    "text": ({**APART, "member_scores": np.array(["a", "b"])}, ["member_scores", "<U1", "numbers"]),
    "complex": ({**APART, "nonmember_scores": NONMEMBER + 1j}, ["nonmember_scores", "complex128"]),
    "shape": ({**APART, "member_scores": MEMBER.reshape(75, 2)}, ["member_scores", "(75, 2)", "(N,)"]),
    "too few": ({**APART, "member_scores": MEMBER[:1]}, ["member_scores", "1 scores", "at least 2"]),
    "empty": ({**APART, "nonmember_scores": MEMBER[:0]}, ["nonmember_scores", "0 scores"]),
    "member words": ({"scores": MEMBER, "member": np.array(["in"] * 150)}, ["member", "<U2", "true or false"]),
    "member twos": ({"scores": MEMBER, "member": np.full(150, 2)}, ["member", "true or false"]),
    "member short": ({"scores": MEMBER, "member": np.ones(3, bool)}, ["member", "(3,)", "(150,)"]),
    "all members": ({"scores": MEMBER, "member": np.ones(150, bool)}, ["member", "0 images", "at least 2"]),
    "label count": ({**APART, "member_labels": [1], "nonmember_labels": [2]}, ["member_labels", "(1,)", "(150,)"]),
    "label halves": (
        {**APART, "member_labels": np.full(150, 0.5), "nonmember_labels": np.zeros(120)},
        ["member_labels", "whole numbers"],
    ),
    "pickled": ({**APART, "member_scores": np.array([{}] * 5, dtype=object)}, ["member_scores", "pickled", "refused"]),
}


def check_refused(outcome, *words):
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("leakbench: ")
    assert outcome.err.count("\n") == 1, outcome.err
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line(score, case):
    arrays, words = BAD[case]
    check_refused(score(**arrays), "mine.npz", *words)


def test_a_file_that_is_none_is_one_line(leakbench, tmp_path):
    check_refused(leakbench("score", tmp_path / "none.npz"), "none.npz", "no such file")
    (tmp_path / "text.npz").write_text("scores")
    check_refused(leakbench("score", tmp_path / "text.npz"), "text.npz", "not an .npz file")
    np.savez(tmp_path / "mine.npz", **APART)
    data = bytearray((tmp_path / "mine.npz").read_bytes())
    data[200:300] = bytes(100)
    (tmp_path / "mine.npz").write_bytes(data)
    check_refused(leakbench("score", tmp_path / "mine.npz"), "mine.npz", "member_scores", "cannot be read")


def test_power_says_how_many(leakbench):
    outcome = leakbench("power", "--auc", 0.6, "--half-width", 0.05)
    assert outcome.code == 0
    lines = {" ".join(line.split()[:-1]): line.split()[-1] for line in outcome.out.splitlines() if line.strip()}
    assert lines["AUC 0.6, told from 0.5"] == "132"
    assert lines["any TPR at FPR 1 %, enough to rank by it"] == "1000"
    # Hanley and McNeil at n = 244: error .02552, times 1.96 is .05002; at 245 .04991.
    assert lines["AUC 0.6, to +-0.05"] == "245"


def test_power_without_options_is_of_use(leakbench):
    outcome = leakbench("power")
    assert outcome.code == 0
    assert "TPR 30 % at FPR 1 %, told from 1 %" in outcome.out
    assert [line.split()[0] for line in outcome.out.splitlines() if line[:1].isdigit()] == [
        *("100", "300", "1000", "2500", "10000", "25000")
    ]


def test_power_counts_groups(leakbench):
    """915 groups of 5 correlated by .5 are 1,525 independent images, which the plain table asks for."""
    outcome = leakbench("power", "--images-per-group", 5, "--correlation", 0.5, "--groups", 40)
    lines = [line.split() for line in outcome.out.splitlines()]
    (told,) = [line[-2:] for line in lines if " ".join(line).startswith("AUC 0.6, told from 0.5")]
    groups, images = map(int, told)
    assert images == 5 * groups and effective_images(groups, 5, 0.5) >= 132 > effective_images(groups - 1, 5, 0.5)
    (given,) = [line for line in lines if line[:2] == ["40", "200"]]
    assert given[3] == f"{smallest_detectable_auc(effective_images(40, 5, 0.5)):.3f}"
    alone, plain = leakbench("power", "--images-per-group", 1).out, leakbench("power").out
    needed = [
        [line.split()[-1] for line in out.splitlines()[:8] if line[:3] in ("AUC", "TPR")] for out in (alone, plain)
    ]
    assert needed[0] == needed[1]
    check_refused(leakbench("power", "--groups", 40), "--groups 40", "give --images-per-group as well")
    check_refused(leakbench("power", "--correlation", 0.3), "--correlation 0.3", "--images-per-group")


def test_groups_in_a_file_are_counted(score):
    whose = np.arange(150) // 5, 1000 + np.arange(120) // 5
    outcome = score(**APART, member_group=whose[0], nonmember_group=whose[1])
    assert row(outcome, "auc")[1:5] == cells(auc(MEMBER, NONMEMBER, groups=whose))
    assert "30 of members, 24 of nonmembers; intervals and verdicts count these" in outcome.out
    assert "groups in a set" in outcome.out and "below about 3 / 24" in outcome.out
    together = {
        "scores": np.concatenate([MEMBER, NONMEMBER]),
        "member": np.arange(270) < 150,
        "group": np.concatenate(whose).astype("U"),
    }
    assert score(**together).out == outcome.out
    check_refused(score(**APART, group=np.zeros(270, int)), "group", "give member_group and nonmember_group")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--auc", 0.5, ["--auc 0.5", "between 0.5 and 1"]),
        ("--auc", 1.2, ["--auc 1.2"]),
        ("--half-width", 0, ["--half-width 0", "between 0 and 0.5"]),
        ("--fpr", 0.5, ["--fpr 0.5"]),
        ("--tpr", 0.01, ["--tpr 0.01", "between 0.01 and 1"]),
        ("--tpr", "nan", ["--tpr nan"]),
    ],
)
def test_power_refuses_nonsense_in_one_line(leakbench, option, value, words):
    check_refused(leakbench("power", option, value), *words)


@pytest.mark.parametrize("command", ["score", "power"])
def test_help_begins_with_examples(leakbench, command):
    text = leakbench(command, "--help").out
    assert f"leakbench {command}" in text[text.index("Example") : text.index("Options:")]
