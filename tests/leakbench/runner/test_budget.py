"""--budget: one factor for all, never up, the same in the same folder; and counted calls are the attacks' own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.diffusion import Schedule
from leakbench.runner.estimate import budget
from leakbench.runner.estimate.dry_run import calls_of, calls_of_attribute
from leakbench.runner.estimate.timing import StepTimes
from leakbench.runner.plan import Plan
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import Budget, load

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
            "leakbench.runner.estimate.time_estimate.pace_of",
            lambda builder, condition: StepTimes(forward, 3 * forward),
        )

    return told


def setting(tmp_path):
    return RunConfig(tmp_path / "run", tmp_path / "cache")


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
        inputs = budget.within(path, (), minutes, setting(tmp_path), workers=1)
        taken = budget.TimeEstimate().seconds(inputs, Plan(ReleaseBuilder(inputs), "all").cells, 1)
        assert taken <= 60 * minutes
        assert inputs.suite.budget.factor == 1 or taken > 0.6 * 60 * minutes  # nothing is wasted, either
        found.append(inputs.suite.budget.factor)
    assert found == sorted(found) and found[0] < found[2] and found[-1] == 1.0


def test_small_is_taken_only_where_the_rest_is_out_of_reach(path, machine, tmp_path):
    machine(1e-4)
    assert not budget.within(path, (), 20.0, setting(tmp_path), 1).suite.budget.small
    machine(1e-1)
    quick = ("quality.samples=200", "sampler.steps=1", "sampler.batch=60", "split.nonmembers=60")
    suite = budget.within(path, quick, 110.0, setting(tmp_path), 1).suite
    assert suite.budget.small and suite.file.split.members == 60


def test_a_budget_that_nothing_fits_into_says_how_many_minutes_it_takes(path, machine, tmp_path):
    machine(1e-2)
    with pytest.raises(UsageError, match=r"--budget 1: suite 'scaled' takes about \d+ minutes here at its least"):
        budget.within(path, (), 1.0, setting(tmp_path), 1)


def test_a_folder_keeps_its_factor_on_a_slower_day(path, machine, tmp_path):
    machine(1e-4)
    first = budget.within(path, (), 20.0, setting(tmp_path), 1)
    Plan(ReleaseBuilder(first)).write("leakbench run scaled --budget 20")
    said = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert said["budget"]["factor"] == first.suite.budget.factor and said["budget"]["changes"]
    machine(3e-4)
    again = budget.within(path, (), 20.0, setting(tmp_path), 1)
    assert again.suite.identity == first.suite.identity
    Plan(ReleaseBuilder(again)).check_folder()
    with pytest.raises(UsageError, match="--budget of that run"):
        Plan(ReleaseBuilder(budget.within(path, (), 40.0, setting(tmp_path), 1))).check_folder()
    with pytest.raises(UsageError, match="--budget of that run"):
        Plan(ReleaseBuilder(RunInputs(load(path), setting(tmp_path)))).check_folder()


def test_more_workers_are_not_slower_and_never_faster_than_the_longest_chain(path, machine, tmp_path):
    machine(1e-4)
    builder, estimate = ReleaseBuilder(RunInputs(load(path), setting(tmp_path))), budget.TimeEstimate()
    cells = Plan(builder, "all").cells
    taken = [estimate.seconds(builder.inputs, cells, workers) for workers in (1, 2, 4, 64)]
    assert taken == sorted(taken, reverse=True) and taken[0] > taken[-1]
    by_name = {cell.name: cell for cell in cells}

    def chain(cell):
        return estimate.of(builder.inputs, cell) + max((chain(by_name[name]) for name in cell.depends_on), default=0.0)

    assert taken[-1] >= max(chain(cell) for cell in cells)


@pytest.mark.parametrize(("attack", "calls"), [("blind", 0), ("loss", 1), ("secmi", 11), ("pia", 2), ("pfami", 20)])
def test_an_attack_makes_the_calls_that_its_paper_counts(attack, calls):
    assert calls_of([registry.find("attacks", attack)()], (3, 12, 12), 0, Schedule()) == calls


def test_attacks_share_calls_in_the_rehearsal_too():
    """Both losses ask one question, and PIA's first call is SecMI's: both start from the image at timestep 0."""
    attacks = [registry.find("attacks", name)() for name in ("loss", "loss", "pia", "secmi")]
    assert calls_of(attacks, (1, 8, 8), 10, Schedule()) == 1 + 2 + 11 - 1


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
    assert calls_of_attribute(attack, (1, 12, 12), Schedule()) == 2 * len(attack.t) * attack.draws


def test_levels_of_a_network_that_has_none_are_refused(path, tmp_path):
    builder = ReleaseBuilder(RunInputs(load(path, ("network.levels=[1, 2]",)), setting(tmp_path)))
    with pytest.raises(UsageError, match=r"network.levels = \[1, 2\]: images up to 8x8 have the MLP"):
        builder.inputs.network("none")
