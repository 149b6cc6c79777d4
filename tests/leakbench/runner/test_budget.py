"""--budget: one factor for all, never up, the same in the same folder; and counted calls are the attacks' own."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from leakbench.api import Access, MembershipAttack
from leakbench.measurement import inputs
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.diffusion import Schedule
from leakbench.runner.estimate.budget import fit_to_budget
from leakbench.runner.estimate.dry_run import count_membership_calls, count_own_calls
from leakbench.runner.estimate.time_estimate import TimeEstimate
from leakbench.runner.estimate.timing import StepTimes
from leakbench.runner.extension import extend_run
from leakbench.runner.plan import Plan
from leakbench.runner.run import prepare_run
from leakbench.runner.up_to_date import FinishedRecords
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.budget import Budget
from leakbench.suite.load import load

SUITE = """
name = "scaled"
dataset = "digits"
[split]
members = 100
nonmembers = 100
[[defense]]
name = "baseline"
steps = 20000
[[defense]]
name = "cpsample"
base = "baseline"
steps = [5000, 10000, 20000]
[[defense]]
name = "early_stop"
[[attack]]
name = "loss"
[[attack]]
name = "secmi"
[quality]
samples = 5000
[small]
split.members = 60
defense.baseline.steps = 2000
"""
RECIPES = ("cifar10", "celeba64", "cpsample_paper", "erasediff_paper", "switching_paper", "dpdm", "medical")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "scaled.toml"
    file.write_text(SUITE)
    return str(file)


@pytest.fixture
def machine(monkeypatch):
    """A machine that is as fast as told, in seconds a network call; training takes three times as long."""

    def told(forward):
        monkeypatch.setattr(
            "leakbench.runner.estimate.timing.time_network",
            lambda builder, condition: StepTimes(forward, 3 * forward),
        )

    return told


def setting(tmp_path):
    return RunConfig(tmp_path / "run", tmp_path / "cache")


def fit(path, minutes, tmp_path, overrides=()):
    """The inputs of the suite that fits into so many minutes of one worker."""
    inputs = RunInputs(load(path, overrides), setting(tmp_path))
    return inputs.with_suite(fit_to_budget(inputs, path, overrides, minutes, 1))


def lengths(suite):
    return [value for point in suite.points for key in ("steps", "every") if (value := point.parameters.get(key))]


def test_steps_and_samples_fall_together_and_never_rise(path):
    written = load(path)
    assert load(path, (), Budget(1, 1.0)).file == written.file
    for factor, (steps, swept, every, samples) in {
        0.5: (10000, [2500, 5000, 10000], 250, 2500),
        0.01: (200, [50, 100, 200], 20, 200),
        0.0: (20, [20], 20, 200),
    }.items():
        suite = load(path, (), Budget(1, factor))
        baseline, *cps, stop = suite.points
        assert baseline.parameters["steps"] == steps and stop.parameters["every"] == every
        assert [point.parameters["steps"] for point in cps] == swept
        assert suite.file.quality.samples == samples
        assert suite.file.split == written.file.split and suite.identity != written.identity


def test_every_change_is_told(path):
    suite = load(path, ("split.nonmembers=80",), Budget(1, 0.1, small=True))
    assert {change.path: (change.published, change.used) for change in suite.budget.changes} == {
        "split.members": (100, 60),
        "defense.baseline.steps": (20000, 200),
        "defense.cpsample.steps": ([5000, 10000, 20000], [500, 1000, 2000]),
        "defense.early_stop.steps": (None, 2000),
        "defense.early_stop.every": (None, 50),
        "quality.samples": (5000, 500),
    }


def test_what_set_says_goes_before_small(path):
    suite = load(path, ("split.members=70", "defense.baseline.steps=3000"), Budget(1, 1.0, small=True))
    assert suite.file.split.members == 70 and suite.points[0].parameters["steps"] == 3000


def test_more_minutes_give_more_and_the_estimate_keeps_within(path, machine, tmp_path):
    machine(1e-4)
    found = []
    for minutes in (20.0, 40.0, 80.0, 5000.0):
        inputs = fit(path, minutes, tmp_path)
        taken = TimeEstimate(inputs).seconds(inputs, Plan(ReleaseBuilder(inputs), "all").cells, 1)
        assert taken <= 60 * minutes
        assert inputs.suite.budget.factor == 1 or taken > 0.6 * 60 * minutes  # nothing is wasted, either
        found.append(inputs.suite.budget.factor)
    assert found == sorted(found) and found[0] < found[2] and found[-1] == 1.0


def test_small_is_taken_only_where_the_rest_is_out_of_reach(path, machine, tmp_path):
    machine(1e-4)
    assert not fit(path, 20.0, tmp_path).suite.budget.small
    machine(1e-1)
    quick = ("quality.samples=200", "sampler.steps=1", "sampler.batch=60", "split.nonmembers=60")
    suite = fit(path, 110.0, tmp_path, quick).suite
    assert suite.budget.small and suite.file.split.members == 60


@pytest.mark.parametrize("forward", [1e-5, 1e-4, 1e-1])
def test_the_data_is_loaded_and_searched_for_near_duplicates_once(forward, path, machine, tmp_path, monkeypatch, cache):
    """Whether all of the suite fits, or a part of it, or [small], which splits the data otherwise."""
    machine(forward)
    calls, find, draw = [], registry.dataset, inputs.draw_split

    def dataset(*words):
        load = find(*words)
        return lambda: calls.append("load") or load()

    monkeypatch.setattr(registry, "dataset", dataset)
    monkeypatch.setattr(inputs, "draw_split", lambda *words: calls.append("draw") or draw(*words))
    overrides = ("quality.samples=200", "sampler.steps=1", "sampler.batch=60", "split.nonmembers=60")
    run = prepare_run(path, str(tmp_path / "run"), device="cpu", workers=1, overrides=overrides, budget=110.0)
    assert run.plan.cells and run.inputs.split and list(run.describe())
    assert calls == ["load", "draw"]
    assert run.inputs.suite.budget.small == (forward == 1e-1)


def test_a_budget_that_nothing_fits_into_says_how_many_minutes_it_takes(path, machine, tmp_path):
    machine(1e-2)
    with pytest.raises(UsageError, match=r"--budget 1: suite 'scaled' takes about \d+ minutes here at its least"):
        fit(path, 1.0, tmp_path)


def test_a_folder_keeps_its_factor_on_a_slower_day(path, machine, tmp_path):
    machine(1e-4)
    first = fit(path, 20.0, tmp_path)
    Plan(ReleaseBuilder(first)).write("leakbench run scaled --budget 20")
    said = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert said["budget"]["factor"] == first.suite.budget.factor and said["budget"]["changes"]
    machine(3e-4)
    again = fit(path, 20.0, tmp_path)
    assert again.suite.identity == first.suite.identity


def test_a_scaled_run_is_added_to_under_its_own_budget_alone(path, machine, tmp_path):
    machine(1e-4)
    first = fit(path, 20.0, tmp_path)
    Plan(ReleaseBuilder(first)).write("leakbench run scaled --budget 20")
    records = FinishedRecords(tmp_path / "run")
    shown = {(point.label, "loss", "DENOISER", 0): () for point in first.suite.points}
    vars(records)["_read"] = shown | {("early_stop", "secmi", "API", 0): ()}, []
    Path(path).write_text(SUITE.replace('name = "secmi"', 'name = "pia"') + '[[defense]]\nname = "untrained"\n')
    machine(3e-4)
    longer, whole = fit(path, 40.0, tmp_path), RunInputs(load(path), setting(tmp_path))
    for other in (longer, whole):
        with pytest.raises(
            UsageError, match=r"defense.baseline.steps: \d+ -> \d+.*made with --budget 20: give that again"
        ):
            extend_run(tmp_path / "run", other.suite, records)
    found = extend_run(tmp_path / "run", fit(path, 20.0, tmp_path).suite, records)
    assert found.added == "attack pia, point untrained" and found.kept == "attack secmi"
    budget, before = found.suite.budget, first.suite.budget
    assert (budget.minutes, budget.factor) == (20.0, before.factor)
    assert all(change in budget.changes for change in before.changes)
    assert found.list_commands("again") == ["leakbench run scaled --budget 20", "again"]


def test_more_workers_are_not_slower_and_never_faster_than_the_longest_chain(path, machine, tmp_path):
    machine(1e-4)
    builder = ReleaseBuilder(RunInputs(load(path), setting(tmp_path)))
    estimate = TimeEstimate(builder.inputs)
    cells = Plan(builder, "all").cells
    taken = [estimate.seconds(builder.inputs, cells, workers) for workers in (1, 2, 4, 64)]
    assert taken == sorted(taken, reverse=True) and taken[0] > taken[-1]
    by_name = {cell.name: cell for cell in cells}

    def chain(cell):
        return estimate.estimate_cell(builder.inputs, cell) + max(
            (chain(by_name[name]) for name in cell.depends_on), default=0.0
        )

    assert taken[-1] >= max(chain(cell) for cell in cells)


@pytest.mark.parametrize(("attack", "calls"), [("blind", 0), ("loss", 1), ("secmi", 11), ("pia", 2), ("pfami", 20)])
def test_an_attack_makes_the_calls_that_its_paper_counts(attack, calls):
    assert count_membership_calls([registry.find("attacks", attack)()], (3, 12, 12), 0, Schedule())[0] == calls


def test_what_a_first_fit_imports_is_not_counted_for_each_fold():
    began = []

    class Importing(MembershipAttack):
        name, summary, access = "importing", "its first fit takes 0.2 s", Access.DENOISER

        def fit(self, calibration):
            if not began:
                began.append(time.process_time())
                while time.process_time() < began[0] + 0.2:
                    pass
            return self

        def score(self, view, images, labels):
            return images.flatten(1).mean(1)

    _, (counted,) = count_membership_calls([Importing()], (1, 8, 8), 0, Schedule())
    assert counted.fitting_seconds < 0.1


def test_attacks_share_calls_in_the_rehearsal_too():
    """Both losses ask one question, and PIA's first call is SecMI's: both start from the image at timestep 0."""
    attacks = [registry.find("attacks", name)() for name in ("loss", "loss", "pia", "secmi")]
    assert count_membership_calls(attacks, (1, 8, 8), 10, Schedule())[0] == 1 + 2 + 11 - 1


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_planned_on_images_of_ones_own(name, leakbench, tmp_path):
    """In its sizes for small machines, since there are few images; half of them are of either attribute."""
    draw, side = np.random.default_rng(0), 64 if name in ("celeba64", "switching_paper") else 32
    data = tmp_path / "own.npz"
    images = draw.integers(0, 256, (600, side, side, 3), dtype=np.uint8)
    np.savez(data, images=images, labels=np.arange(600) % 10, attribute=np.arange(600) % 2)
    small = load(name).file.small
    assert small["network"]["width"] == 16
    least = Budget(1, 0.01, small=True)
    builder = ReleaseBuilder(
        RunInputs(load(name, (f"dataset=npz:{data}",), least), RunConfig(Path(tmp_path), Path(tmp_path)))
    )
    assert {cell.kind for cell in Plan(builder).cells} == {"reader", "fit", "audit"}
    ids, attacks = {point.id for point in builder.inputs.suite.points}, {*builder.inputs.suite.attacks, "quality", ""}
    for row in builder.inputs.suite.file.published:
        assert row.defense in ids and row.attack in attacks


def test_an_attack_on_the_attribute_asks_under_either_value():
    attack = registry.find("attacks", "attribute_member")()
    assert count_own_calls(attack, (1, 12, 12), Schedule()) == 2 * len(attack.t) * attack.draws


def test_levels_of_a_network_that_has_none_are_refused(path, tmp_path):
    builder = ReleaseBuilder(RunInputs(load(path, ("network.levels=[1, 2]",)), setting(tmp_path)))
    with pytest.raises(UsageError, match=r"network.levels = \[1, 2\]: images up to 8x8 have the MLP"):
        builder.inputs.network("none")
