"""`leakbench diff`: what moved and in which direction, what is not compared, and what changed besides."""

from __future__ import annotations

import json

import numpy as np
import pytest

import leakbench as lb
from leakbench.reports.claims.diff import diff_runs
from leakbench.reports.claims.diff_words import format_markdown, format_terminal
from leakbench.results.record import Metric, Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc, delong_pair, holm, proportion_pair, tpr_pair

NAMES = ("baseline", "cpsample alpha=0.5", "untrained")


@pytest.fixture(scope="module")
def old(make_run, tmp_path_factory):
    def keep(record):
        return record.point in NAMES

    run = make_run(tmp_path_factory.mktemp("old"), seeds=(0,), images=False, keep=keep)
    for record in run.records:
        if record.family == "membership":
            arrays = run.arrays(record)
            rows = {f"{side}_rows": np.arange(len(arrays[f"{side}_scores"])) for side in ("member", "nonmember")}
            save_record(run.path, record, arrays | rows)
    return RunFolder(run.path)


@pytest.fixture
def later(old, tmp_path):
    """later(shift, point, attack, **plan): the same run with other scores of members of one attack, by a function."""
    number = iter(range(99))

    def build(shift=None, point="cpsample alpha=0.5", attack="pia", keep=lambda record: True, **plan):
        folder = tmp_path / f"new{next(number)}"
        folder.mkdir()
        told = json.loads((old.path / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps(told | plan))
        for record in filter(keep, old.records):
            arrays = old.arrays(record)
            if shift and (record.point, record.attack) == (point, attack) and record.access == "DENOISER":
                arrays = arrays | {"member_scores": shift(arrays["member_scores"])}
                found = auc(arrays["member_scores"], arrays["nonmember_scores"])
                told_auc = Metric(name="auc", value=found.value, ci_low=found.low, ci_high=found.high, n=found.n)
                others = [metric for metric in record.metrics if metric.name == "tpr@fpr=0.1"]
                record = record.model_copy(update={"metrics": [told_auc, *others]})
            save_record(folder, record, arrays)
        return RunFolder(folder)

    return build


def rows(old, new):
    return {(row.point, row.attack, row.access, row.metric): row for row in diff_runs(old, new).rows}


PIA = ("cpsample alpha=0.5", "pia", "DENOISER", "auc")
BASE = ("baseline", "pia", "DENOISER", "auc")


def test_nothing_moved_between_a_run_and_itself(old, later):
    found = diff_runs(old, later())
    assert found.moved == () and found.changes == () and found.void == () and not found.is_worse
    tested = [row for row in found.rows if row.outcome != "not compared"]
    assert {row.difference.value for row in tested} == {0.0} and {row.p_value for row in tested} == {1.0}
    assert {row.point for row in found.rows} == {"baseline", "cpsample alpha=0.5"}  # controls are none
    assert "blind" not in {row.attack for row in found.rows}


def test_an_epsilon_by_image_is_not_compared_with_one_by_person(old, later):
    """A run of today's gives a whole person one coin, where an older one gave each image one."""

    def audited(run, info):
        bound = Metric(name="epsilon_lower", value=1.0, ci_low=0.9, ci_high=1.1, n=100)
        known = next(record for record in run.records if record.point == "baseline" and record.attack == "pia")
        told = {"attack": "canary_one_run", "family": "auditing", "metrics": [bound], "info": info, "arrays": ""}
        save_record(run.path, known.model_copy(update=told), {})
        return RunFolder(run.path)

    def reason(*infos):
        found = rows(*(audited(later(), info) for info in infos))
        return next(row.reason for key, row in found.items() if key[1] == "canary_one_run")

    assert reason({}, {"unit": "group"}) == "not the same epsilon: by image in the old run, by group in the new"
    assert "same epsilon" not in reason({}, {}) + reason({"unit": "group"}, {"unit": "group"})


def test_a_computation_that_stands_in_several_rows_is_tested_once(old, later):
    """At the weights, CPSample's network is the baseline's; the baseline answers by its weights."""
    found = rows(old, later())
    assert ("baseline", "pia", "DENOISER", "auc") in found and PIA in found
    assert ("cpsample alpha=0.5", "pia", "WEIGHTS", "auc") not in found


@pytest.mark.parametrize("shift, outcome", [(0.6, "worse"), (0.0, "no change shown")])
def test_more_leakage_is_worse_by_delongs_test_and_holms_correction(old, later, shift, outcome):
    new = later(lambda scores: scores + shift, "baseline")
    found = rows(old, new)
    sides = []
    for run in (new, old):
        (record,) = [r for r in run.records if (r.point, r.attack, r.access) == BASE[:3]]
        sides += [run.arrays(record)[f"{side}_scores"] for side in ("member", "nonmember")]
    expected, expected_tpr = delong_pair(*sides), tpr_pair(*sides, 0.1)
    row, tpr = found[BASE], found[(*BASE[:3], "tpr@fpr=0.1")]
    assert row.outcome == outcome and row.paired and row.seeds == (1, 1)
    assert (row.difference, tpr.difference) == (expected.difference, expected_tpr.difference)
    tested = [one for one in found.values() if one.outcome != "not compared"]
    others = [1.0] * (len(tested) - 2)
    assert [row.p_value, tpr.p_value] == holm([expected.p_value, expected_tpr.p_value, *others])[:2]
    assert {r for r in found.values() if r.outcome in ("worse", "better")} <= {row, tpr}


def test_less_leakage_is_better(old, later):
    new = later(lambda scores: scores - 1.5, "baseline")
    assert rows(old, new)[BASE].outcome == "better"
    assert rows(new, old)[BASE].outcome == "worse"


def test_an_attack_whose_members_score_lower_leaks_as_much(old, later):
    """An AUC of 0.5 that becomes 0.25 is worse; one of 0.9 that becomes 0.1 is no different."""
    assert rows(old, later(lambda scores: scores - 1.0))[PIA].outcome == "worse"
    (record,) = [r for r in old.records if (r.point, r.attack, r.access) == BASE[:3]]
    nonmember = old.arrays(record)["nonmember_scores"]
    mirrored = later(lambda scores: 2 * np.mean(nonmember) - scores, "baseline")
    assert rows(old, mirrored)[BASE].outcome == "no change shown"
    assert abs(rows(old, mirrored)[BASE].difference.value) < 0.05


def test_copies_and_distances_that_rise_are_worse(old, later, tmp_path):
    new = later()
    for record in list(new.records):
        if record.point == "baseline" and record.attack == "nearest_copy_pixels":
            arrays = new.arrays(record)
            save_record(new.path, record, arrays | {"similarity": arrays["similarity"] + 0.1})
            limit = record.info["threshold"]
            expected = proportion_pair(arrays["similarity"] + 0.1 >= limit, arrays["similarity"] >= limit)
        if record.point == "baseline" and record.attack == "quality":
            metrics = [
                m.model_copy(update={"value": m.value + 5, "ci_low": m.ci_low + 5, "ci_high": m.ci_high + 5})
                if m.name == "frechet_heldout"
                else m
                for m in record.metrics
            ]
            save_record(new.path, record.model_copy(update={"metrics": metrics}), new.arrays(record))
    found = rows(old, RunFolder(new.path))
    copies = found["baseline", "nearest_copy_pixels", "SAMPLES", "copy_rate_excess"]
    assert copies.outcome == "worse" and copies.paired and copies.difference == expected.difference
    far = found["baseline", "quality", "SAMPLES", "frechet_heldout"]
    assert far.outcome == "worse" and not far.paired and far.difference.value == pytest.approx(5)


def test_a_void_track_and_a_row_that_means_nothing_are_said_and_never_moved(old, later):
    new = later(lambda scores: scores + 3, "baseline", "blind")
    for record in list(new.records):
        if record.attack == "blind" and record.point == "baseline":
            arrays = new.arrays(record)
            save_record(new.path, record, arrays | {"member_scores": arrays["member_scores"] + 3})
    found = diff_runs(old, RunFolder(new.path))
    assert found.void and "new track void" in found.void[0] and not found.is_worse
    told = {row.attack: row for row in found.rows if row.point == "baseline"}
    assert told["pia"].outcome == "not compared" and "the new track is void" in told["pia"].reason
    assert told["nearest_copy_pixels"].outcome == "no change shown"
    assert "new track void" in format_markdown(found) and "not compared: " in format_terminal(found)


def test_a_row_as_bad_as_noise_is_not_compared(old, later):
    new = later(lambda scores: scores + 2)
    for record in list(new.records):
        if record.point == "cpsample alpha=0.5" and record.attack == "quality":
            metrics = [m.model_copy(update={"value": 160.0, "ci_low": 150.0, "ci_high": 170.0}) for m in record.metrics]
            save_record(new.path, record.model_copy(update={"metrics": metrics}), new.arrays(record))
    row = rows(old, RunFolder(new.path))[PIA]
    assert row.outcome == "not compared" and row.reason.startswith("new: as-untrained: ")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda r: r.model_copy(update={"flags": ["non-finite"]}), "NaN or infinite"),
        (lambda r: None, "no record in the new run"),
    ],
)
def test_what_lacks_or_is_no_number_is_not_compared(old, later, change, words):
    new = later(lambda scores: scores + 1, keep=lambda r: (r.point, r.attack, r.access) != PIA[:3] or change(r))
    for record in list(new.records):
        if (record.point, record.attack, record.access) == PIA[:3]:
            save_record(new.path, change(record), new.arrays(record))
    found = rows(old, RunFolder(new.path))
    assert found[PIA].outcome == "not compared" and words in found[PIA].reason


def test_one_training_each_says_nothing_of_how_trainings_differ(old, later):
    split = {"member": 400, "calibration_in": 100, "nonmember": 400, "near_duplicates_removed": 13}
    found = rows(old, later(lambda scores: scores + 1, split=split))
    assert {row.outcome for row in found.values()} == {"not compared"}
    points = [point | {"given": True} for point in json.loads((old.path / "plan.json").read_text())["points"]]
    given = later(points=points)
    changed = later(lambda scores: scores + 1, split=split, points=points)
    assert rows(given, changed)[PIA].outcome == "worse"  # of a network that was handed in there is one


def with_facts(run, torch, version, digest):
    """The run, its records made by a version of torch and of the plugins, from some code."""
    told = {"environment": {"auditor": {"torch": torch}}}
    told["key"] = {"version": version, "code": {"leakbench.attacks.membership.pia": digest}}
    for record in list(run.records):
        changed = Record.model_validate(record.model_dump() | {"run": told})
        save_record(run.path, changed, run.arrays(record))
    return RunFolder(run.path)


def test_a_setting_of_the_split_that_only_a_later_version_has_parts_no_pair(old, later):
    before, after = later(settings={"split": {"seed": 0}}), later(settings={"split": {"seed": 0, "radius": 0.1}})
    assert rows(before, after)[BASE].paired
    other = later(settings={"split": {"seed": 1}})
    assert rows(before, other)[BASE].outcome == "not compared"  # other images, and one training each


def test_what_changed_besides_is_listed(old, later):
    points = [*json.loads((old.path / "plan.json").read_text())["points"], {"point": "mine", "defense": "mine"}]
    before = later(settings={"sampler": {"steps": 40}, "defense": [{"name": "baseline", "steps": 9000}]}, seeds=[0])
    after = later(
        settings={
            "sampler": {"steps": 20},
            "defense": [{"name": "baseline", "steps": 3000}],
            "split": {"seed": 1},
            "compile": False,
        },
        points=points,
        attacks={"loss": "", "mine": ""},
        dataset="npz:<b>.npz",
        split={"member": 200},
    )
    before = with_facts(before, torch="2.0", version="1", digest="abc")
    after = with_facts(after, torch="9.9", version="2", digest="def")
    found = {(one.kind, one.what): (one.old, one.new) for one in diff_runs(before, after).changes}
    assert found["plan", "sampler.steps"] == ("40", "20")
    assert found["plan", "defense.baseline.steps"] == ("9000", "3000")
    assert found["data", "data set"] == ("", "npz:<b>.npz") and found["data", "member"] == ("400", "200")
    assert found["data", "split.seed"] == ("", "1")
    assert found["versions", "torch"] == ("2.0", "9.9")
    assert found["code", "attack pia"] == ("version 1", "version 2")
    assert found["code", "modules"][1] == "changed: attacks.membership.pia"
    assert ("plan", "compile") not in found
    assert found["points", "mine"] == ("", "there") and found["attacks", "mine"] == ("", "there")
    assert found["attacks", "secmi"] == ("there", "")
    text = format_terminal(diff_runs(before, after))
    assert "plan: sampler.steps: 40 -> 20\n" in text and "points: mine in the new run only" in text


def test_the_command_and_python_say_the_same(old, later, leakbench, tmp_path, monkeypatch):
    new = later(lambda scores: scores + 0.6, "baseline")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    done = leakbench("diff", old.path, new.path, "--markdown", tmp_path / "diff.md")
    assert (done.code, done.err) == (0, "")
    assert leakbench("diff", old.path, new.path, "--fail-on", "worse").code == 1
    assert leakbench("diff", new.path, new.path, "--fail-on", "worse").code == 0
    found = lb.load(old.path).diff(lb.load(new.path))
    assert done.out == found.words and found.is_worse
    assert (tmp_path / "diff.md").read_text() == found.markdown
    assert (tmp_path / "summary.md").read_text().count("## Compared with the run before") == 3
    assert "2 moved beyond noise: 2 worse, 0 better" in done.out and "2 moved" in repr(found)
    table = found.table()
    row = table[table.outcome == "worse"].to_dict("records")[0]
    assert row["old"] < row["new"] and row["difference_low"] > 0 and row["p"] < 0.05 and row["paired"]
    assert (row["point"], row["attack"], row["access"], row["metric"]) == BASE
    assert table["difference"].dtype == float


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_that_is_no_run_is_one_line(old, leakbench, tmp_path, which):
    sides = [old.path, old.path]
    sides[which] = tmp_path
    done = leakbench("diff", *sides)
    assert done.code == 2 and done.out == "" and done.err.count("\n") == 1 and "no plan.json" in done.err


@pytest.mark.parametrize("settings", [{"attack": "loss"}, {"defense": [3]}, {"split": "random"}])
def test_a_plan_that_is_damaged_is_one_line(old, later, leakbench, settings):
    done = leakbench("diff", old.path, later(settings=settings).path)
    assert done.code == 2 and done.err.count("\n") == 1 and "plan.json: damaged" in done.err


def test_two_runs_of_other_things_are_one_line(old, tmp_path, tell_run, leakbench):
    tell_run(tmp_path / "other", [{"point": "mine", "defense": "mine", "attacks": {"pia": {"auc": (0.5, 0.4, 0.6)}}}])
    done = leakbench("diff", old.path, tmp_path / "other", "--fail-on", "worse")
    assert done.code == 2 and "no point and attack that both measured" in done.err


def test_markup_of_names_reaches_no_page(tell_run, tmp_path):
    name = "<img src=x>|# title"
    point = {"point": name, "defense": "mine", "attacks": {"pia": {"auc": (0.5, 0.4, 0.6)}}}
    sides = [tell_run(tmp_path / side, [point]) for side in ("old", "new")]
    found = diff_runs(*sides)
    page = format_markdown(found)
    assert "<img" not in page and "\\|" in page
    assert all(line.isprintable() for line in format_terminal(found).splitlines())
