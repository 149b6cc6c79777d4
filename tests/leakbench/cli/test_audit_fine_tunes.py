"""`leakbench audit BASE --lora FILE` finds the images that a LoRA knows by heart, and nothing in its base."""

from __future__ import annotations

import pytest

import leakbench as lb
from leakbench.results.run_folder import RunFolder

QUICK = [
    word
    for setting in ("sampler.steps=2", "quality.samples=20", "quality.features=pixels")
    for word in ("--set", setting)
]


@pytest.fixture(scope="module")
def fine_tune(fine_tunes, pipelines, whole_pipelines, tmp_path_factory):
    """fine_tune(kind, base_steps, lora_steps): a base and a LoRA on it that knows the members."""

    def make(kind, *steps):
        return fine_tunes.make(kind, tmp_path_factory.mktemp(kind), (pipelines, whole_pipelines), steps)

    return make


def _audit(leakbench, made, out, *more):
    sides = ["--members", made.members, "--nonmembers", made.nonmembers, "--captions", "txt", "--workers", 1]
    return leakbench("audit", made.base, "--lora", made.lora, *sides, *QUICK, "--out", out, *more)


def _aucs(folder):
    """AUCs of the loss: of the fine-tune calibrated by its base, of the fine-tune, and of the base."""
    results = lb.load(folder)
    asked = ("model", "calibrated_loss"), ("model", "loss"), ("base", "loss")
    return [results.metric(point, attack, "auc", access="DENOISER") for point, attack in asked]


def test_the_twin_of_the_loss_finds_what_a_lora_knows_and_its_base_does_not(fine_tune, leakbench, tmp_path):
    """With a weaker bound than below, of fewer steps."""
    made = fine_tune("sd", 40, 40)
    outcome = _audit(leakbench, made, tmp_path / "run", "--attacks", "loss")
    assert outcome.code == 0, outcome.err
    calibrated, plain, base = _aucs(tmp_path / "run")
    assert calibrated.value > 0.8 and calibrated.value > base.high
    assert base.low < 0.5 < base.high and plain.n == calibrated.n == 20
    records = {(record.point, record.attack) for record in RunFolder(tmp_path / "run").records}
    assert {("model", "calibrated_loss"), ("model", "loss"), ("base", "loss")} <= records
    assert "calibrated_loss" in outcome.out


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("sd", (60, 100)), ("sd3", (60, 200))])
def test_a_lora_that_knows_its_images_by_heart_is_found_almost_surely(fine_tune, leakbench, tmp_path, kind, steps):
    made = fine_tune(kind, *steps)
    assert _audit(leakbench, made, tmp_path / "run", "--attacks", "loss").code == 0
    calibrated, plain, base = _aucs(tmp_path / "run")
    print(kind, steps, calibrated, plain, base)
    assert calibrated.value > 0.95 and calibrated.low > 0.75
    assert base.low < 0.5 < base.high
    assert plain.n == calibrated.n
