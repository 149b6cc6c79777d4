"""`leakbench audit --checkpoints`: one curve and one table of leakage and copying against training steps."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.interface.checkpoint_series import CheckpointSeries, format_table

SMALL = ["sampler.steps=2", "sampler.batch=64", "quality.samples=20", "quality.features=pixels"]


@pytest.fixture(scope="module")
def run(pipelines, tmp_path_factory):
    """A finished run with two checkpoints of random weights, and two folders of pictures."""
    home, pipeline = tmp_path_factory.mktemp("series"), pipelines.tiny()
    pipeline.save_pretrained(home / "run")
    for step in (100, 20):
        weights = pipeline.unet.conv_out.weight.data
        weights.normal_(std=1 / step, generator=torch.Generator().manual_seed(step))
        pipeline.unet.save_pretrained(home / f"run/checkpoint-{step}/unet")
    for seed, side in enumerate(("members", "nonmembers")):
        (home / side).mkdir()
        for number, image in enumerate(np.random.default_rng(seed).integers(0, 256, (70, 8, 8), dtype=np.uint8)):
            Image.fromarray(image).save(home / side / f"{number:02}.png")
    return home


def words(run, pattern, *more):
    settings = [word for one in SMALL for word in ("--set", one)]
    sides = ["--members", run / "members", "--nonmembers", run / "nonmembers"]
    return ["audit", "--checkpoints", run / pattern, *sides, "--device", "cpu", "--workers", 1, *settings, *more]


def test_one_table_and_one_curve(run, leakbench, tmp_path):
    found = leakbench(*words(run, "run/checkpoint-*", "--attacks", "loss,nearest_copy", "--out", tmp_path / "out"))
    assert found.code == 0, found.err
    rows = list(csv.DictReader((tmp_path / "out/checkpoints.csv").read_text().splitlines()))
    assert [(row["step"], row["attack"]) for row in rows if row["attack"] != "blind"] == [
        ("20", "loss"),
        ("20", "nearest_copy"),
        ("100", "loss"),
        ("100", "nearest_copy"),
    ]
    assert {row["metric"] for row in rows} == {"oriented_auc", "copy_rate_excess"}
    for step in (20, 100):
        table = (tmp_path / f"out/step-{step:06d}/summary.csv").read_text()
        value = next(row["value"] for row in rows if row["step"] == str(step) and row["attack"] == "loss")
        assert value[:6] in table, "the figure of the audit of that step"
    assert (tmp_path / "out/checkpoints.png").stat().st_size > 5000 and (tmp_path / "out/checkpoints.pdf").is_file()
    assert [line.split() for line in found.out.splitlines()].count(["step", "20", "100"]) == 1


def test_a_series_of_nothing_says_so(tmp_path):
    assert format_table([]) == [
        "no attack on membership or copying was run that applies to this model: there is no curve"
    ]
    assert CheckpointSeries({}, tmp_path, {}).write() == [] and not list(tmp_path.iterdir())


def test_what_is_wrong_is_said_before_anything_runs(run, leakbench, tmp_path):
    def said(pattern, *more):
        found = leakbench(*words(run, pattern, *more, "--out", tmp_path / "out"))
        assert found.code == 2 and not (tmp_path / "out").exists(), found.err
        return found.err

    assert "1 checkpoints, and a curve needs two" in said("run/checkpoint-20")
    assert "it should be a folder of the name checkpoint-STEP" in said("run/*")
    weights = run / "run/checkpoint-100/unet/diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    assert "cut off" in said("run/checkpoint-*") and "cut off" in said("run/checkpoint-*", "--plan")
    weights.write_bytes(whole)
    plan = leakbench(*words(run, "run/checkpoint-*", "--plan", "--out", tmp_path / "out"))
    assert plan.code == 0 and "2 checkpoints, each as the last above: steps 20, 100" in plan.out
