"""The set `standard`: the script that chose it, on cases made by hand; the set, on the results that are published."""

import csv
from pathlib import Path

import pytest

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
