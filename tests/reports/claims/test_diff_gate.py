"""`leakbench diff` as a gate: every family is seen, what is missing or another point is said, and void never passes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import leakbench as lb
from leakbench.reports.claims.diff import diff_runs
from leakbench.reports.claims.diff_missing import list_missing_records
from leakbench.reports.claims.diff_words import format_markdown, format_terminal
from leakbench.results.record import Metric
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder

FORGETTING = {
    "frechet_heldout": (2.0, 1.5, 2.5),
    "frechet_retained": (2.0, 1.5, 2.5),
    "forget_probability": (0.09, 0.07, 0.11),
    "forget_probability_real": (0.98, 0.97, 0.99),
    "attribute_auc": (0.55, 0.5, 0.6),
    "kid": (0.1, 0.05, 0.15),
}
SCORES = {"auc": (0.6, 0.57, 0.63), "forget_auc": (0.6, 0.55, 0.65)}


@pytest.fixture
def told(tell_run, tmp_path):
    """told(quality, scores, point): a run of one unlearned model at two seeds; `plan` changes its plan."""
    number = iter(range(99))

    def build(quality=FORGETTING, scores=SCORES, plan=None, **more):
        point = {"point": "erasediff", "defense": "erasediff", "quality": quality, "attacks": {"pia": scores}} | more
        run = tell_run(tmp_path / f"told{next(number)}", [point], seeds=(0, 1))
        if plan:
            path = run.path / "plan.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | plan))
        return RunFolder(run.path)

    return build


@pytest.mark.parametrize(
    "metric, value",
    [
        ("forget_probability", (0.95, 0.93, 0.97)),
        ("frechet_retained", (9.0, 8.5, 9.5)),
        ("attribute_auc", (0.9, 0.87, 0.93)),
        ("attribute_auc", (0.1, 0.07, 0.13)),
        ("forget_auc", (0.95, 0.92, 0.98)),
    ],
)
def test_what_unlearning_and_switching_are_read_by_is_compared(told, leakbench, metric, value):
    scored = metric in SCORES
    new = told(FORGETTING if scored else FORGETTING | {metric: value}, SCORES | {metric: value} if scored else SCORES)
    old = told()
    (moved,) = diff_runs(old, new).moved
    assert (moved.metric, moved.outcome) == (metric, "worse")
    assert leakbench("diff", old.path, new.path, "--fail-on", "worse").code == 1
    (back,) = diff_runs(new, old).moved
    assert (back.metric, back.outcome) == (metric, "better")


def test_of_what_has_no_direction_or_says_the_same_again_there_is_no_row(told):
    metrics = {row.metric for row in diff_runs(told(), told()).rows}
    assert metrics == {*FORGETTING, *SCORES} - {"forget_probability_real", "kid"}


def test_a_metric_of_an_attack_on_copies_that_measures_no_excess_is_compared(told):
    sides = []
    for value in (0.1, 0.8):
        run = told()
        for record in list(run.records):
            if record.attack == "pia":
                bands = Metric(name="ams_mid", value=value, ci_low=value - 0.05, ci_high=value + 0.05, n=100)
                save_record(run.path, record.model_copy(update={"family": "replication", "metrics": [bands]}), {})
        sides.append(RunFolder(run.path))
    assert [row.metric for row in diff_runs(*sides).moved] == ["ams_mid"]


@pytest.fixture(scope="module")
def whole(make_run, tmp_path_factory):
    names = ("baseline", "cpsample alpha=0.5", "untrained")
    run = make_run(tmp_path_factory.mktemp("whole"), images=False, keep=lambda record: record.point in names)
    told = json.loads((run.path / "plan.json").read_text())
    told["points"] = [point for point in told["points"] if point["point"] in names]
    told["attacks"] = {record.attack: "" for record in run.records if record.attack != "quality"}
    (run.path / "plan.json").write_text(json.dumps(told))
    return RunFolder(run.path)


@pytest.fixture
def part(whole, tmp_path):
    """part(keep): the run with those of its records alone that `keep` keeps, under the same plan."""

    number = iter(range(9))

    def build(keep):
        folder = tmp_path / f"part{next(number)}"
        folder.mkdir()
        (folder / "plan.json").write_bytes((whole.path / "plan.json").read_bytes())
        for record in filter(keep, whole.records):
            save_record(folder, record, whole.arrays(record))
        return RunFolder(folder)

    return build


def test_a_run_beside_itself_lacks_nothing_and_passes(whole, leakbench):
    assert list_missing_records(whole, whole) == []
    assert leakbench("diff", whole.path, whole.path, "--fail-on", "worse").code == 0


def test_a_run_without_most_of_its_records_fails_and_says_so(whole, part, leakbench):
    new = part(lambda r: r.point == "baseline" and r.attack == "quality")
    done = leakbench("diff", whole.path, new.path, "--fail-on", "worse")
    assert done.code == 1 and "none was shown to move" in done.out
    found = lb.load(whole.path).diff(lb.load(new.path))
    assert len(found.missing) == len(whole.records) - 2
    assert f"Missing: {len(whole.records) - 2} records" in done.out
    assert not found.is_worse and leakbench("diff", whole.path, new.path).code == 0
    table = found.table()
    left = table[table.outcome == "not compared"]
    assert set(left.reason) == {"no record in the new run"} and set(left.new_seeds) == {0}
    assert {row.point for row in diff_runs(whole, whole).rows} == set(table.point)
    assert f"; {len(left)} not compared." in done.out.splitlines()[0]
    assert found.markdown.count("| no record in the new run |") == len(left)


@pytest.mark.parametrize("point, access", [("baseline", "NONE"), ("untrained", "DENOISER"), ("baseline", "WEIGHTS")])
def test_one_record_that_is_not_there_fails_also_of_a_control(whole, part, leakbench, point, access):
    gone = next(r for r in whole.records if (r.point, r.access, r.seed) == (point, access, 1))
    new = part(lambda r: r != gone)
    assert list_missing_records(whole, new) == [f"{gone.attack} ({access}) at {point} seed 1"]
    assert leakbench("diff", whole.path, new.path, "--fail-on", "worse").code == 1


def test_a_point_that_the_old_run_has_not_lacks_records_as_well(whole, part):
    old = part(lambda r: r.point == "baseline")
    gone = next(r for r in whole.records if r.point != "baseline")
    later = part(lambda r: r.digest != gone.digest)
    assert list_missing_records(old, later) == [f"{gone.attack} ({gone.access}) at {gone.point} seed {gone.seed}"]


def test_what_the_new_plan_does_not_ask_for_is_not_missing(told):
    point = {"point": "other", "defense": "other", "role": "defense"}
    old, new = told(), told(plan={"attacks": {"loss": ""}})
    reasons = {row.attack: row.reason for row in diff_runs(old, new).rows}
    assert reasons["pia"] == ""  # it is there all the same
    assert list_missing_records(old, new) == ["loss at erasediff seed 0", "loss at erasediff seed 1"]
    assert list_missing_records(old, told(plan={"attacks": {}})) == []
    lone = told(attacks={})
    with_pia = {row.attack: row.reason for row in diff_runs(old, RunFolder(lone.path)).rows}
    assert with_pia["pia"] == "no record in the new run"
    renamed = told(plan={"points": [point]})
    assert list_missing_records(old, renamed) == []


def test_a_void_new_track_ends_with_the_exit_code_of_void(whole, part, leakbench):
    new = part(lambda record: True)
    for record in list(new.records):
        if record.attack == "blind" and record.point == "baseline":
            arrays = new.arrays(record)
            metrics = [Metric(name="auc", value=0.9, ci_low=0.88, ci_high=0.92, n=400)]
            changed = record.model_copy(update={"metrics": metrics})
            save_record(new.path, changed, arrays | {"member_scores": np.asarray(arrays["member_scores"]) + 3})
    done = leakbench("diff", whole.path, new.path, "--fail-on", "worse")
    assert done.code == 3 and "new track void" in done.out
    assert leakbench("diff", whole.path, new.path).code == 0


@pytest.mark.parametrize(
    "ours, its, words",
    [
        ({"condition": "none"}, {"condition": "label"}, "condition none in the old run, label in the new"),
        ({"chain": ["a"]}, {"chain": ["a", "b"]}, "a in the old run, a + b in the new"),
    ],
)
def test_points_of_one_name_that_are_others_are_not_compared(told, leakbench, ours, its, words):
    point = {"point": "erasediff", "defense": "erasediff"}
    worse = FORGETTING | {"forget_probability": (0.95, 0.93, 0.97)}
    old, new = told(plan={"points": [point | ours]}), told(worse, plan={"points": [point | its]})
    found = diff_runs(old, new)
    assert {(row.outcome, row.reason) for row in found.rows} == {("not compared", f"not the same point: {words}")}
    done = leakbench("diff", old.path, new.path, "--fail-on", "worse")
    assert done.code == 1 and done.out.startswith("No row could be compared")
    unsaid = told(worse, plan={"points": [point]})  # a plan of an earlier version says nothing of it
    assert [row.metric for row in diff_runs(old, unsaid).moved] == ["forget_probability"]


def test_a_point_of_other_parameters_is_compared(told):
    """A recipe that was changed, or a network that was handed in anew: whether that did harm is the question."""
    worse = FORGETTING | {"forget_probability": (0.95, 0.93, 0.97)}
    assert diff_runs(told(params={"steps": 300, "lr": 0.1}), told(worse, params={"steps": 30, "lr": 0.1})).is_worse
    given = {"points": [{"point": "erasediff", "defense": "erasediff", "given": True}]}
    assert diff_runs(told(params={"path": "v1"}, plan=given), told(worse, params={"path": "v2"}, plan=given)).is_worse


def test_the_answer_comes_first_and_fits_80_columns(told):
    worse = FORGETTING | {"forget_probability": (0.95, 0.93, 0.97)}
    plan = {"settings": {"network": {f"width{i}": i for i in range(30)}}}
    found = diff_runs(told(), told(worse, plan=plan))
    lines = format_terminal(found).splitlines()
    assert lines[0] == "Of 6 rows 1 moved beyond noise: 1 worse, 0 better."
    assert max(map(len, lines)) <= 80
    assert "worse: forget_probability of erasediff by quality, SAMPLES: 0.09 -> 0.95" in lines
    assert "No change shown in 5 rows (--markdown FILE lists all)." in lines
    assert not any("frechet" in line for line in lines)
    assert "plan: 20 more (--markdown FILE lists all)" in lines
    page = format_markdown(found)
    assert "frechet_retained" in page and "network.width29" in page


def test_why_a_row_of_shared_seeds_is_not_compared_in_pairs_is_said(told, whole, part):
    rows = diff_runs(told(), told()).rows
    why = {row.metric: row.unpaired for row in rows}
    assert why["frechet_heldout"] == "no shares of single samples on record" and why["auc"] == "no scores on record"
    assert why["forget_auc"] == "no test in pairs of this metric"
    assert all("unpaired" not in row.unpaired and (row.paired or row.unpaired) for row in rows)
    assert "unpaired (no shares of single samples on record), 2 and 2 seeds" in format_markdown(
        diff_runs(told(), told())
    )
    other = {"split": {"member": 7}}
    assert {row.unpaired for row in diff_runs(told(), told(plan=other)).rows} == {"other images"}
