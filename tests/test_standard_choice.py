"""The sets `standard` and `strongest`: the scripts that chose them, on cases made by hand, and `standard` on published
results."""

import csv
from pathlib import Path

import numpy as np
import pytest

from leakbench.benchmarks.standard import timesteps
from leakbench.benchmarks.standard.choose import Case, choose
from leakbench.suite.ensemble import read_frozen_attacks

ROOT = Path(__file__).parents[1]


CALLS = {"free": 0, "few": 5, "dear": 100, "dearer": 200, "idle": 10}


@pytest.mark.parametrize(
    ("strengths", "added"),
    [
        ([{"few": 0.80, "dear": 0.81}], []),  # within the margin
        ([{"few": 0.80, "dear": 0.85, "dearer": 0.86}], ["dear"]),  # the cheaper of two that will do
        ([{"few": 0.80, "dear": 0.85, "dearer": 0.90}], ["dearer"]),
        ([{"free": 0.6, "dear": 0.7}, {"dearer": 0.9, "few": 0.8}], ["dear", "dearer"]),
    ],
)
def test_an_attack_is_added_where_the_strongest_would_be_missed(strengths, added):
    cases = [Case("run", str(number), "DENOISER", one) for number, one in enumerate(strengths)]
    assert choose(cases, CALLS) == ["few", "free", *added]


@pytest.mark.parametrize("run", ["cifar10", "medical"])
def test_the_set_is_near_the_strongest_on_published_results(run):
    """By the published CSV alone."""
    with (ROOT / "docs" / "results" / run / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["point"] == "baseline" and row["metric"] == "oriented_auc"]
    least = {(row["attack"], row["access"]): float(row["ci_low"]) for row in rows}
    members = {entry.get("id", entry["name"]) for entry in read_frozen_attacks("standard", "a test")}
    ours = max(value for (attack, _), value in least.items() if attack in members)
    assert len(least) > 5 and ours >= max(least.values()) - 0.02


def shifted(by: float, seed: int) -> timesteps.Scores:
    rng = np.random.default_rng(seed)
    return rng.normal(by, 1, 200), rng.normal(0, 1, 300)


def test_sets_are_judged_as_families_that_pay_for_their_members():
    useless = {f"useless-{seed}": shifted(0, seed) for seed in range(1, 9)}
    alone, among = (timesteps.judge({"telling": shifted(0.6, 0)} | others) for others in ({}, useless))
    assert alone.attack == among.attack == "telling" and alone.leaks and among.leaks
    assert 0.5 < among.least < alone.least < alone.area == among.area
    assert not timesteps.judge(useless).leaks


def test_statistics_are_joined_with_the_signs_of_calibration_images():
    """One that orders the wrong way round adds to what the others say; reported images have no say in its sign."""
    rng, found = np.random.default_rng(0), {}
    for name in timesteps.EACH:
        sign = -1 if name.startswith("secmi") else 1
        errors = [np.exp(rng.normal(-sign * member, 1, 100)) for member in (0.5, 0, 0.5, 0)]
        found[name] = [-error for error in errors]
    member, nonmember = timesteps._join(found)["sum"]
    assert np.mean(member[:, None] > nonmember) > 0.9


@pytest.mark.parametrize(("ensemble", "calls"), [("strongest-1", 49), ("strongest-2", 89), ("strongest", 89)])
def test_the_cost_of_several_timesteps(ensemble, calls):
    assert timesteps.count_calls(ensemble) == calls
