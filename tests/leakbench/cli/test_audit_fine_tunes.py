"""`leakbench audit BASE --lora FILE` finds the images that a LoRA knows by heart, and nothing in its base."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL.ImageFile import ImageFile
from safetensors.torch import save_file

import leakbench as lb
from leakbench.results.run_folder import RunFolder
from leakbench.runner.estimate import count_times
from leakbench.runner.estimate.speeds import Speed

QUICK = [
    word
    for setting in ("sampler.steps=2", "quality.samples=20", "quality.features=pixels")
    for word in ("--set", setting)
]


@pytest.fixture(scope="module")
def quick(fine_tune):
    """One of few steps, shared by all tests: read it, never write to it."""
    return fine_tune("sd", 40, 80)


@pytest.fixture(scope="module")
def fine_tune(fine_tunes, pipelines, whole_pipelines, tmp_path_factory):
    """fine_tune(kind, base_steps, lora_steps): a base and a LoRA on it that knows the members."""

    def make(kind, *steps):
        return fine_tunes.make(kind, tmp_path_factory.mktemp(kind), (pipelines, whole_pipelines), steps)

    return make


def _words(made, *more):
    sides = ["--members", made.members, "--nonmembers", made.nonmembers, "--captions", "txt", "--workers", 1]
    return ["audit", made.base, *sides, *QUICK, *more]


def _audit(leakbench, made, out):
    words = _words(made, "--lora", made.lora, "--attacks", "loss", "--out", out)
    return leakbench(*words, formats=("csv", "md"))


def _aucs(folder):
    """AUCs of the loss: of the fine-tune calibrated by its base, of the fine-tune, and of the base."""
    results = lb.load(folder)
    asked = ("model", "calibrated_loss"), ("model", "loss"), ("base", "loss")
    return [results.metric(point, attack, "oriented_auc", access="DENOISER") for point, attack in asked]


def test_the_twin_of_the_loss_finds_what_a_lora_knows_and_its_base_does_not(quick, leakbench, tmp_path):
    """With a weaker bound than below, of fewer steps."""
    outcome = _audit(leakbench, quick, tmp_path / "run")
    assert outcome.code == 0, outcome.err
    calibrated, plain, base = _aucs(tmp_path / "run")
    assert calibrated.value > 0.9 and calibrated.value > base.high
    assert base.low < 0.5 < base.high and plain.n == calibrated.n == 20
    records = {(record.point, record.attack) for record in RunFolder(tmp_path / "run").records}
    assert {("model", "calibrated_loss"), ("model", "loss"), ("base", "loss")} <= records
    report = (tmp_path / "run" / "report.md").read_text()
    told = " | ".join(f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]" for one in (plain, calibrated, base))
    assert "## What fine-tuning gave away" in report and f"| model | base | loss | {told} |" in report


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("sd", (60, 120)), ("sd3", (60, 200))])
def test_a_lora_that_knows_its_images_by_heart_is_found_almost_surely(fine_tune, leakbench, tmp_path, kind, steps):
    made = fine_tune(kind, *steps)
    assert _audit(leakbench, made, tmp_path / "run").code == 0
    calibrated, plain, base = _aucs(tmp_path / "run")
    print(kind, steps, calibrated, plain, base)
    assert calibrated.value > 0.95 and calibrated.low > 0.75
    assert base.low < 0.5 < base.high
    assert plain.n == calibrated.n


@pytest.fixture
def no_decoding(monkeypatch):
    """Decoding an image fails. Nothing is timed for a plan."""

    def refuse(image):
        raise AssertionError(f"{image.filename} is decoded")

    monkeypatch.setattr(ImageFile, "load", refuse)
    monkeypatch.setattr(count_times, "measure_numpy", lambda: Speed(1e-10, "a guess"))


def test_a_plan_of_a_fine_tune_decodes_no_image(quick, leakbench, no_decoding, tmp_path):
    other = shutil.copytree(quick.base, tmp_path / "other")
    for more in (["--lora", quick.lora], ["--base", other]):
        found = leakbench(*_words(quick, *more, "--attacks", "loss,pia", "--device", "cpu", "--plan"))
        assert (found.code, found.err) == (0, "")
        assert "5 cells (0 to train)" in found.out and "load    model, seed 0 for reference" in found.out
        assert "DENOISER  loss, calibrated_loss, calibrated_curve, pia, calibrated_pia\n" in found.out


REFUSED = {
    "no file": (["--lora", "nowhere.safetensors"], "no such file or folder"),
    "an adapter of another model": (["--lora", "other.safetensors"], "none of its 2 keys is a LoRA's"),
    "one that is no adapter": (["--lora", "words.safetensors"], "not a safetensors file"),
    "a base beside a LoRA": (["--lora", "other.safetensors", "--base", "words"], "the base is MODEL itself"),
    "a base that is no folder": (["--base", "nowhere"], "nowhere"),
    "a base of other sizes": (["--base", "sixteen"], "it is no base of that"),
    "the model as its own base": (["--base", "base"], "is MODEL itself"),
    "samples": (
        ["--lora", "other.safetensors", "--samples", "members"],
        "audit: MODEL, --samples DIR and --endpoint URL are three kinds",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("ends", [[], ["--plan"]], ids=["run", "plan"])
def test_what_does_not_fit_is_refused_in_one_line_before_images_are_decoded(
    quick, leakbench, no_decoding, tmp_path, monkeypatch, fault, ends
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.safetensors").write_text("no adapter at all")
    save_file({f"unet.nowhere.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}, "other.safetensors")
    (tmp_path / "base").symlink_to(quick.base)
    (tmp_path / "members").symlink_to(quick.members)
    if "sixteen" in REFUSED[fault][0]:
        _of_another_size(quick.base, tmp_path / "sixteen")
    more, said = REFUSED[fault]
    found = leakbench(*_words(quick, *more, "--attacks", "loss", "--device", "cpu", *ends))
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found.err
    assert said in found.err


def _of_another_size(folder, target):
    """The same weights, for latents of twice the side."""
    file = shutil.copytree(folder, target) / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": 16}))
