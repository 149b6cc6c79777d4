"""The recipes of the field run start to end on images of one's own, at a small budget; the report tells all of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from leakbench.reports.site.report import render
from leakbench.results.run_folder import RunFolder
from leakbench.runner.estimate import budget
from leakbench.suite.load import load

QUICK = ("sampler.steps=2", "split.members=12", "split.nonmembers=12", "split.calibration_in=20")
QUICK += ("split.calibration_out=20", "sampler.batch=64", "quality.features=pixels", "network.levels=[1]")
QUICK += ("defense.baseline.steps=20",)
OWN = {  # of each recipe, so that it takes seconds
    "cifar10": ("defense.cpsample.steps=20", "small.empty={}", "defense.dp_sgd.batch=10"),
    "medical": (
        "defense.cpsample.steps=20",
        "defense.dp_sgd.steps=20",
        "defense.dp_sgd.batch=10",
        "defense.attribute_switching.search_images=2",
        "defense.switching-750.search_images=2",
        "attack.attribute_member.draws=1",
    ),
    "cpsample_paper": (
        "defense.pretrained.steps=20",
        "defense.cpsample.steps=20",
        "defense.cpsample-small-alpha.steps=20",
        "defense.baseline.samples=20",
        "attack.adaptive_cpsample.draws=1",
        "attack.adaptive_cpsample.t=[20]",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels"), [("cifar10", 3), ("medical", 1), ("cpsample_paper", 3)])
def test_a_recipe_runs_start_to_end(name, channels, leakbench, hurried, tmp_path, monkeypatch):
    """At its least steps and samples, whatever this machine could do in the time."""
    monkeypatch.setattr(budget, "_find_factor", lambda *_: 0.0)
    monkeypatch.setattr(budget, "_is_hopeless", lambda *_: True)  # times the published network, 10 s on a CPU
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (400, 9, 9, channels), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(400) % 10, attribute=np.arange(400) % 2)
    changed = [f"dataset=npz:{tmp_path / 'own.npz'}", *QUICK, *OWN[name]]
    words = [word for one in changed for word in ("--set", one)]
    folder = tmp_path / "run"
    done = leakbench("run", name, *words, "--budget", "5", "--device", "cpu", "--workers", "1", "--out", folder)
    assert done.code == 0, done.err
    assert "s foreseen" in done.out
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["budget"]["small"] and plan["published"]
    run = RunFolder(folder)
    assert {record.point for record in run.records} == {point["point"] for point in plan["points"]}
    report = render(run)
    assert "scaled to a budget of 5 minutes" in report and "`network.width`: 128 -> 16" in report
    for row in plan["published"]:
        assert row["paper"] in report


def test_what_sima_measured_again_stands_with_its_rates_as_well():
    """2509.25003, its table of CIFAR-10: AUC and TPR at 1 % FPR, in per cent."""
    again = [row for row in load("cifar10").file.published if row.paper == "Rao et al. 2025 (SimA), its re-run"]
    assert {(row.attack, row.metric): round(100 * row.value, 2) for row in again} == {
        ("loss", "auc"): 84.73,
        ("loss", "tpr@fpr=0.01"): 24.14,
        ("secmi", "auc"): 89.72,
        ("secmi", "tpr@fpr=0.01"): 33.44,
        ("pia", "auc"): 91.86,
        ("pia", "tpr@fpr=0.01"): 29.54,
    }
