"""DINOv2's distance and SSCD's copies join every table where weights lie: stand-in networks, real runs."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from leakbench.measurement import extra_features
from leakbench.measurement.extra_features_policy import list_extra_features
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.weights.resources import DINOV2, SSCD
from leakbench.reports.reading.tradeoff import tradeoff_table
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.site.report import render
from leakbench.results.run_folder import RunFolder
from leakbench.runner.estimate import timing
from leakbench.runner.estimate.time_estimate import TimeEstimate
from leakbench.runner.estimate.timing import StepTimes
from leakbench.runner.plan import Plan
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.budget import Budget
from leakbench.suite.load import load

SUITE = """
name = "colour"
dataset = "npz:{images}"

[split]
members = 30
nonmembers = 30
calibration_in = 10
calibration_out = 10

[network]
width = 8
blocks = 1

[sampler]
steps = 2
batch = 64

[[defense]]
name = "baseline"
steps = 1
batch = 8

[[defense]]
name = "untrained"

[[attack]]
name = "nearest_copy"

[quality]
samples = 40
features = "torchscript:{script}"
"""
NAMES = ["copy_rate_excess@features=sscd", "frechet_floor@features=dinov2", "frechet_heldout@features=dinov2"]
COLUMNS = ["FD-dinov2, held-out", "FD-dinov2, its floor", "copies beyond null, sscd"]


class Means(nn.Module):
    """Stands in for SSCD: the mean of each quarter of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def scripted(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Means()).save(str(path))
    return path


class Corners:
    """Stands in for DINOv2: three pixels."""

    name = "dinov2"

    def __init__(self, device: torch.device) -> None:
        pass

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images[:][:, :, 0, 0]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """write(side): a suite on random colour images of this side; its path. The cache is the test's own."""
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LEAKBENCH_SSCD", raising=False)

    def make(side=32):
        images = np.random.default_rng(0).integers(0, 256, (160, side, side, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{side}.npz", images=images)
        path = tmp_path / f"colour{side}.toml"
        path.write_text(SUITE.format(images=tmp_path / f"{side}.npz", script=scripted(tmp_path / "means.pt")))
        return path

    return make


@pytest.fixture
def weights(tmp_path, monkeypatch, write):
    """Stand-ins for both networks, where their weights are looked for."""
    folder = tmp_path / "cache" / "weights"
    folder.mkdir(parents=True)
    (folder / DINOV2.file).touch()
    scripted(folder / SSCD.file)
    monkeypatch.setattr(extra_features, "DINOv2", Corners)
    return folder


def builder(path, tmp_path, *overrides):
    return ReleaseBuilder(
        RunInputs(load(str(path), overrides), RunConfig(tmp_path / "run", tmp_path / "cache", "cpu", True))
    )


def test_who_joins(write, weights, tmp_path):
    path = write()
    assert list_extra_features(builder(path, tmp_path).inputs) == ("dinov2", "sscd")
    assert list_extra_features(builder(path, tmp_path, 'quality.beside=["sscd"]').inputs) == ("sscd",)
    assert list_extra_features(builder(path, tmp_path, "quality.beside=[]").inputs) == ()
    assert list_extra_features(builder(path, tmp_path, "quality.features=dinov2").inputs) == ("sscd",)
    assert list_extra_features(builder(path, tmp_path, "attack.nearest_copy.by=sscd").inputs) == ("dinov2",)
    assert list_extra_features(builder(write(31), tmp_path).inputs) == ()
    hurried = replace(builder(path, tmp_path).inputs.suite, budget=Budget(5, 0.1, False))
    assert list_extra_features(builder(path, tmp_path).inputs.with_suite(hurried)) == ("sscd",)
    named = builder(path, tmp_path, 'quality.beside=["sscd", "dinov2"]')
    hurried = replace(named.inputs.suite, budget=Budget(5, 0.1, False))
    assert list_extra_features(named.inputs.with_suite(hurried)) == ("sscd", "dinov2")
    (weights / DINOV2.file).unlink()
    assert list_extra_features(builder(path, tmp_path).inputs) == ("sscd",)


def test_without_weights_nobody_does(write, tmp_path):
    assert list_extra_features(builder(write(), tmp_path).inputs) == ()


def test_a_plan_foresees_them(write, weights, tmp_path, monkeypatch):
    """Two releases of 40 samples, and each real image once."""
    monkeypatch.setattr(timing, "_products_per_second", lambda device: 87.8e9)  # one image of both a second
    path = write()
    work, without = builder(path, tmp_path), builder(path, tmp_path, "quality.beside=[]")
    monkeypatch.setattr("leakbench.runner.estimate.timing.time_network", lambda *_: StepTimes(0.0, 0.0))
    seconds, fewer = (
        TimeEstimate(one.inputs).seconds(one.inputs, Plan(one, "all").cells, 1) for one in (work, without)
    )
    assert seconds - fewer == pytest.approx(2 * 40 + 40 + 40 + len(work.inputs.split.parts["reference"]), abs=1)


def frechet_by_hand(a, b):
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)


def test_what_they_say(write, weights, tmp_path):
    """Samples that are twenty training images and twenty others, which nothing was trained on."""
    work = builder(write(), tmp_path)
    rows, others = work.inputs.split.train, work.inputs.split.parts["reference"]
    samples = torch.cat([work.inputs.images(rows[:20])[:], work.inputs.images(others[:20])[:]])
    found = extra_features.ExtraFeatures(work.inputs).measure(samples)
    metrics = {metric.name: metric for metric in found.metrics}
    assert {name.partition("@")[2] for name in metrics} == {"features=dinov2", "features=sscd"}
    train, heldout = (work.inputs.images(part)[:][:, :, 0, 0].numpy() for part in (rows, work.inputs.heldout_rows))
    ours = samples[:, :, 0, 0].numpy()
    assert len(train) == len(heldout) == len(ours) == 40
    for name, (a, b) in {"": (ours, train), "_heldout": (ours, heldout), "_floor": (train, heldout)}.items():
        assert metrics[f"frechet{name}@features=dinov2"].value == pytest.approx(frechet_by_hand(a, b), abs=1e-4)
    assert metrics["copy_rate@features=sscd"].value == pytest.approx(0.5, abs=0.03)
    assert metrics["copy_rate@features=sscd"].n == 40 and metrics["copy_rate_null@features=sscd"].n == 30
    assert metrics["unique_copies@features=sscd"].value >= 20
    assert found.info["sscd"]["published_threshold"] == pytest.approx(0.5)


def test_weights_that_appear_give_the_next_run_columns(leakbench, write, tmp_path, request):
    path = write()
    words = ("run", path, "--out", tmp_path / "run", "--workers", 1)
    assert leakbench(*words).code == 0
    before = RunFolder(tmp_path / "run")
    assert not set(COLUMNS) & set(format_tradeoff(before)[0])
    flags = {record.stem: record.flags for record in before.records}
    request.getfixturevalue("weights")
    outcome = leakbench(*words)
    assert outcome.code == 0, outcome.err
    after = RunFolder(tmp_path / "run")
    titles, cells = format_tradeoff(after)
    assert titles[-4:-1] == COLUMNS and all("[" in cell for row in cells for cell in row[-4:-1])
    assert all(column in render(after) for column in COLUMNS)
    table = tradeoff_table(after)
    assert bool(table[NAMES].notna().all(axis=None))
    record = next(r for r in after.records if r.attack == "quality")
    assert table[NAMES[2]][0] == record.metric(NAMES[2]).value
    assert all(word in (tmp_path / "run" / "results.csv").read_text() for word in NAMES)
    assert {record.stem: record.flags for record in after.records} == flags
