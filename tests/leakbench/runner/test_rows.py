"""--budget buys each row at the least with which it means something, and names the rows that it leaves out."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.reports.site.report import render
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedBudget
from leakbench.runner.estimate import budget
from leakbench.runner.estimate.budget import fit_to_budget
from leakbench.runner.estimate.rows import choose_rows
from leakbench.runner.estimate.timing import StepTimes
from leakbench.runner.extension import merge_budgets
from leakbench.runner.plan import Plan
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.budget import Budget, EmptyRow
from leakbench.suite.load import load
from leakbench.suite.small import Small

SUITE = """
name = "rows"
dataset = "digits"
[split]
members = 20
nonmembers = 20
calibration_in = 20
calibration_out = 20
[sampler]
steps = 2
[[defense]]
name = "baseline"
steps = 800000
[[defense]]
name = "cpsample"
base = "baseline"
steps = [100000, 200000]
[[defense]]
name = "dp_sgd"
steps = 800000
[[defense]]
name = "reject_resample"
base = "cpsample"
[[defense]]
name = "untrained"
[[attack]]
name = "loss"
[[attack]]
name = "adaptive_cpsample"
on = ["cpsample"]
[quality]
samples = 200
features = "pixels"
[[published]]
paper = "A"
setting = "B"
value = 1
defense = "dp_sgd"
[small]
defense.baseline.steps = 1000
defense.cpsample.steps = 500
defense.dp_sgd.steps = 2000
least.baseline.steps = 400
least.cpsample.steps = 100
least.dp_sgd.steps = 300
"""
MINUTES = {"baseline": 4.0, "untrained": 1.0, "cpsample": 6.0, "dp_sgd": 5.0, "reject_resample": 2.0}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rows.toml"
    file.write_text(SUITE)
    return str(file)


def choose(path, minutes, small=None):
    """What is left out of a suite whose rows take MINUTES, one after the other: (names, minutes of each, of all)."""

    def takes(left_out):
        gone = left_out | ({"reject_resample"} if "cpsample" in left_out else set())
        return 60 * sum(taken for row, taken in MINUTES.items() if row not in gone)

    rows, enough = choose_rows(load(path), small or Small(), takes, 60 * minutes, lambda seconds: round(seconds / 60))
    return {row.row: row.minutes for row in rows}, enough


@pytest.mark.parametrize(
    ("minutes", "left_out", "enough"),
    [
        (18.0, {}, None),
        (17.0, {"reject_resample": 18}, 18),
        (13.0, {"dp_sgd": 18}, 18),  # too dear beside cpsample; the row behind it still fits
        (10.0, {"cpsample": 16, "reject_resample": 18}, 18),  # one is too dear, and the other stands on it
        (5.0, {"cpsample": 11, "dp_sgd": 10, "reject_resample": 13}, 18),
    ],
)
def test_rows_are_bought_in_the_order_of_the_file(path, minutes, left_out, enough):
    """Baseline and control take 5 minutes, and are bought always."""
    assert choose(path, minutes) == (left_out, enough)


def test_a_row_that_no_budget_fills_is_left_out_with_what_stands_on_it(path):
    small = Small(empty={"cpsample": "no gate"})
    rows, enough = choose(path, 100.0, small)
    assert rows == {"cpsample": None, "reject_resample": None} and enough == 10


def test_steps_never_fall_below_the_least_of_the_row_and_never_rise(path):
    steps = {point.label: point.parameters["steps"] for point in load(path, (), Budget(1, 0.3, small=True)).points[:3]}
    assert steps == {"baseline": 400, "cpsample": 150, "dp_sgd": 600}
    asked = ("defense.baseline.steps=30", "defense.cpsample.steps=[50, 400]")
    suite = load(path, asked, Budget(1, 0.3, small=True))
    assert [point.parameters["steps"] for point in suite.points[:3]] == [30, 50, 120]
    assert load(path, (), Budget(1, 0.0001)).points[0].parameters["steps"] == 80  # as written, [small] says nothing


def test_a_row_left_out_takes_with_it_all_that_names_it(path):
    whole = load(path, (), Budget(1, 1.0, small=True))
    suite = load(path, (), Budget(1, 1.0, True, (EmptyRow("cpsample", {}), EmptyRow("dp_sgd", {}))))
    assert [point.id for point in suite.points] == ["baseline", "untrained"] and list(suite.attacks) == ["loss"]
    assert not suite.file.published and suite.identity != whole.identity
    assert {change.path for change in suite.budget.changes} == {"defense.baseline.steps"}


@pytest.fixture
def slow_machine(monkeypatch):
    """A network call of 1 ms: the rows of [small] at their least take about 4 minutes."""
    monkeypatch.setattr(
        "leakbench.runner.estimate.timing.time_network", lambda inputs, condition: StepTimes(1e-3, 3e-3)
    )


def fit(path, minutes, tmp_path):
    inputs = RunInputs(load(path), RunConfig(tmp_path / "run", tmp_path / "cache"))
    return inputs.with_suite(fit_to_budget(inputs, path, (), minutes, 1))


def test_the_minutes_that_are_named_do_buy_the_rows(path, slow_machine, tmp_path):
    few = fit(path, 6.0, tmp_path).suite.budget
    assert few.small and few.empty and few.enough
    assert not fit(path, float(few.enough), tmp_path).suite.budget.empty
    for row in few.empty:
        bought = fit(path, float(row.minutes), tmp_path).suite.budget
        assert row.row not in {other.row for other in bought.empty} or row.minutes < few.enough


def test_a_folder_keeps_its_rows(path, slow_machine, tmp_path, monkeypatch):
    first = fit(path, 6.0, tmp_path)
    Plan(ReleaseBuilder(first)).write("leakbench run rows --budget 6")
    said = json.loads((tmp_path / "run" / "plan.json").read_text())["budget"]
    assert [row["row"] for row in said["empty"]] == [row.row for row in first.suite.budget.empty] != []
    monkeypatch.setattr("leakbench.runner.estimate.timing.time_network", lambda *_: StepTimes(1e-6, 3e-6))
    again = fit(path, 6.0, tmp_path)
    assert again.suite.identity == first.suite.identity and again.suite.budget == first.suite.budget


def test_the_plan_and_the_run_name_what_is_left_out(path, leakbench, tmp_path, monkeypatch, hurried):
    """dp_sgd is dear at any length; the rest is as quick as the machine. The plan's exit code is 0."""
    path = tmp_path / "rows.toml"
    path.write_text(SUITE.replace("least.dp_sgd.steps = 300", 'empty.dp_sgd = "too few images for any noise"'))
    monkeypatch.setattr(budget, "_is_hopeless", lambda *_: True)
    words = ("run", path, "--budget", "5", "--device", "cpu", "--workers", "1", "--out", tmp_path / "run")
    words += ("--set", "defense.baseline.steps=20", "--set", "defense.cpsample.steps=20")
    planned = leakbench(*words, "--plan")
    assert planned.code == 0, planned.err
    assert "empty   dp_sgd (at no budget: too few images for any noise)" in planned.out
    line = "--budget 5 leaves out rows that would be empty: dp_sgd (at no budget: too few images for any noise)"
    assert line in planned.out.splitlines()
    done = leakbench(*words)
    assert done.code == 0 and f"leakbench: {line}" in done.err.splitlines()
    run = RunFolder(tmp_path / "run")
    assert "dp_sgd" not in {point.defense for point in run.plan.points}
    assert "> - `dp_sgd`: at no budget: too few images for any noise" in render(run)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("least.cpsampel.steps = 3", "small.least.cpsampel: no such defense id; did you mean 'cpsample'"),
        ("least.cpsample.batch = 3", "small.least.cpsample.batch: --budget scales no such parameter; known: steps"),
        ("least.cpsample.steps = 0.5", "small.least.cpsample.steps = 0.5: it should be a whole number from 1 on"),
        (
            "least.cpsample = 3",
            "small.least.cpsample = 3: it should name a parameter, such as small.least.cpsample.steps",
        ),
        ("least = 3", "small.least = 3: it should be a table by the ids of defenses"),
        ("empty.dp_sgd = 3", "small.empty.dp_sgd = 3: it should be the reason, in words"),
        ('empty.baseline = "no"', "small.empty.baseline: only a defense can be left out"),
    ],
)
def test_a_wrong_small_is_refused(line, said, tmp_path):
    file = tmp_path / "rows.toml"
    file.write_text(SUITE.partition("least.baseline")[0] + line)
    with pytest.raises(UsageError, match=r"rows\.toml") as refused:
        load(str(file))
    assert said in str(refused.value)


def test_a_folder_that_is_added_to_keeps_what_its_budget_left_out(path):
    """Until a command brings the row."""
    left_out = EmptyRow("cpsample", {"steps": 100}, 9), EmptyRow("dp_sgd", {}, None, "too few images")
    old = PlannedBudget.model_validate(asdict(Budget(5, 0.5, True, left_out, 9)))
    without = load(path, (), Budget(5, 0.5, True, left_out))
    assert merge_budgets(old, None, without) == Budget(5, 0.5, True, left_out, 9)
    with_dp = load(path, (), Budget(5, 0.5, True, left_out[:1]))
    merged = merge_budgets(old, with_dp.budget, with_dp)
    assert merged.empty == left_out[:1] and merged.changes == with_dp.budget.changes
