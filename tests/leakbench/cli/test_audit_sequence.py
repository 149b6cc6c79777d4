"""Commands of `leakbench audit` that follow one another into one folder."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from leakbench.results.run_folder import RunFolder

SMALL = [
    word
    for setting in ("sampler.steps=4", "sampler.batch=32", "quality.samples=20", "quality.features=pixels")
    for word in ("--set", setting)
]


def save(path, count, seed, shade=0):
    """Random images, 16x16; `shade` is added to all of them."""
    images = np.random.default_rng(seed).integers(shade, 128 + shade, (count, 16, 16), dtype=np.uint8)
    np.savez(path, images=images)
    return path


@pytest.fixture
def sides(tmp_path):
    """Members and nonmembers, as options."""
    members, nonmembers = (save(tmp_path / f"{side}.npz", n, n) for side, n in (("members", 50), ("nonmembers", 70)))
    return ["--members", members, "--nonmembers", nonmembers, "--workers", 1]


@pytest.fixture
def pipeline(tmp_path):
    """A tiny pipeline that diffusers made."""
    import torch
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    types = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    unet = UNet2DModel(16, 1, 1, layers_per_block=1, block_out_channels=(8,), norm_num_groups=4, **types)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def shown(folder):
    """Point and attack of every row of results.csv."""
    with (folder / "results.csv").open() as file:
        return {(row["point"], row["attack"]) for row in csv.DictReader(file) if row["attack"] != "quality"}


def test_one_attack_another_and_a_defense_around_the_model(sides, pipeline, leakbench, tmp_path):
    out = tmp_path / "run"
    words = [pipeline, *sides, *SMALL, "--out", out]
    assert leakbench("audit", *words, "--attacks", "loss").code == 0
    first = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    outcome = leakbench("audit", *words, "--attacks", "pia", formats=("csv", "md"))
    assert outcome.code == 0 and "adds attack pia" in outcome.err and "keeps attack loss" in outcome.err
    assert shown(out) == {(point, attack) for point in ("model", "untrained") for attack in ("loss", "pia")}
    report = (out / "report.md").read_text()
    assert report.count("\n    leakbench audit ") == 2 and "Not measured" not in report
    around = ["--defense", "reject_resample"]
    outcome = leakbench("audit", *words, "--attacks", "loss", *around, formats=("csv", "md"))
    assert outcome.code == 0 and "adds point reject_resample" in outcome.err
    assert first.items() <= {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}.items()
    assert "Not measured everywhere: pia at reject_resample." in (out / "report.md").read_text()
    assert leakbench("audit", *words, "--attacks", "loss,pia", *around).code == 0
    assert ("reject_resample", "pia") in shown(out) and len(RunFolder(out).plan.commands) == 1  # which asks for all
    other = save(tmp_path / "others.npz", 70, 3)
    outcome = leakbench("audit", *words, "--nonmembers", other, "--attacks", "loss")
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert "with other settings: dataset: " in outcome.err and f"--out {tmp_path / 'run-2'} " in outcome.err
    assert leakbench("audit", *words, "--nonmembers", other, "--attacks", "loss", "--rerun", "all").code == 0
    assert shown(out) == {("model", "loss"), ("untrained", "loss")}
    assert len(RunFolder(out / "superseded").records) >= len(first)


def test_a_model_that_changed_in_its_place_is_measured_anew_by_every_attack(sides, pipeline, leakbench, tmp_path):
    words = [pipeline, *sides, *SMALL, "--out", tmp_path / "run"]
    assert leakbench("audit", *words, "--attacks", "loss").code == 0
    before = {record.stem: record.inputs for record in RunFolder(tmp_path / "run").records}
    (weights,) = (pipeline / "unet").glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1  # of the last number, one bit
    weights.write_bytes(data)
    outcome = leakbench("audit", *words, "--attacks", "pia")
    assert outcome.code == 0 and "kept in superseded/" in outcome.err
    after = {record.stem: record.inputs for record in RunFolder(tmp_path / "run").records}
    changed = {stem for stem in before if after[stem] != before[stem]}
    assert changed == {stem for stem in before if stem.startswith("model__")}


def test_a_void_audit_stays_void_whatever_is_added(sides, leakbench, tmp_path):
    """Its nonmembers are brighter: the blind baseline of the first command speaks for the second as well."""
    bright = save(tmp_path / "bright.npz", 70, 5, shade=100)
    words = ["--samples", save(tmp_path / "generated.npz", 60, 6), *sides, "--nonmembers", bright]
    words += ["--set", "quality.features=pixels", "--out", tmp_path / "run"]
    assert leakbench("audit", *words, "--attacks", "blind").code == 3
    outcome = leakbench("audit", *words, "--attacks", "gan_leaks")
    assert outcome.code == 3 and "adds attack gan_leaks" in outcome.err and "VOID" in outcome.out
    with (tmp_path / "run" / "results.csv").open() as file:
        flags = {row["attack"]: row["flags"] for row in csv.DictReader(file)}
    assert "track-invalid" in flags["gan_leaks"] and "track-invalid" in flags["blind"]
