"""A release as a diffusers pipeline: diffusers loads it, and it answers and samples the same numbers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.api import Release
from leakbench.models import networks
from leakbench.models.diffusers_export import build_pipeline, build_scheduler
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runner.export import check_exportable
from leakbench.runtime.device import Rng, RngStream
from leakbench.runtime.errors import UsageError
from leakbench.suite.release_spec import ChainLink, ReleaseSpec

SUITE = """
name = "mine"
dataset = "{dataset}"
[split]
members = 40
nonmembers = 40
calibration_in = 20
calibration_out = 20
[network]
width = 8
blocks = 1
[sampler]
steps = 2
batch = 32
[quality]
samples = 20
features = "pixels"
[[defense]]
name = "baseline"
steps = 3
batch = 16
[[defense]]
name = "reject_resample"
base = "baseline"
[[attack]]
name = "loss"
"""


def release_of(shape=(3, 16, 16), conditions=0, schedule=None, **more):
    """A release of a small UNet with random weights."""
    spec = NetworkSpec(kind="unet", shape=shape, width=8, blocks=1, conditions=conditions, **more)
    network = networks.build(spec, RngStream((1, 2))).eval().requires_grad_(False)
    return Release(network, schedule or Schedule(), Rng("here", 0), shape, torch.device("cpu"), batch=4)


POINT = ReleaseSpec("baseline", (), "baseline")


@pytest.mark.parametrize(
    "schedule", [Schedule(), Schedule(T=200, beta_last=0.05), Schedule.given(np.linspace(0.999, 0.01, 100))]
)
def test_the_scheduler_has_our_noise_levels(schedule):
    theirs = build_scheduler(schedule).alphas_cumprod.numpy()
    np.testing.assert_allclose(theirs, schedule.alpha_bar, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 28, 28), (3, 20, 12)])
def test_diffusers_loads_it_and_its_unet_answers_the_same(tmp_path, shape):
    from diffusers import DDIMPipeline

    release = release_of(shape)
    build_pipeline(release).save_pretrained(tmp_path)
    loaded = DDIMPipeline.from_pretrained(tmp_path)
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([0, 10, 500, 999])
    theirs, ours = loaded.unet.double()(x, t).sample, release.network.double()(x, t)  # or rounding has its say
    torch.testing.assert_close(theirs.float(), ours, rtol=0, atol=1e-6)
    assert list(tmp_path.rglob("*.bin")) == []
    assert loaded.scheduler.config.prediction_type == "epsilon"


@pytest.mark.parametrize("clip", [False, True])
def test_diffusers_samples_what_we_sample(clip):
    release = release_of(schedule=Schedule(steps=20, clip=clip))
    pipeline, ids = build_pipeline(release), torch.arange(3)
    pipeline.scheduler.set_timesteps(20)
    x = release.initial_noise(ids)
    for t in pipeline.scheduler.timesteps:
        x = pipeline.scheduler.step(release.raw_eps(x, t.expand(3)), t, x).prev_sample
    ours, other = (release_of(schedule=Schedule(steps=20, clip=said)).generate(ids) for said in (clip, not clip))
    # x_0 is x - sigma eps over 0.01 and less: where it is clipped, rounding no longer cancels.
    torch.testing.assert_close(x.clamp(-1, 1), ours, rtol=0, atol=2e-2 if clip else 1e-4)
    assert (ours - other).abs().max() > 0.2


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (lambda: release_of((1, 27, 27)), "27x27 to no whole number of pixels"),
        (lambda: release_of(extra_channels=1), "1 further input channels"),
        (lambda: release_of(schedule=Schedule(last=30)), "ends at timestep 30"),
    ],
)
def test_what_a_pipeline_cannot_say_is_refused(release, words):
    with pytest.raises(UsageError, match=words):
        check_exportable(release(), POINT, raw=False)


@pytest.fixture(scope="module")
def small_run(leakbench, tmp_path_factory):
    """A small run of a UNet: the folder run, and its cache."""
    home = tmp_path_factory.mktemp("small")
    images = np.random.default_rng(0).integers(0, 256, (160, 16, 16, 1), dtype=np.uint8)
    np.savez(home / "mine.npz", images=images)
    (home / "mine.toml").write_text(SUITE.format(dataset=f"npz:{home / 'mine.npz'}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(home / "cache"))
        assert leakbench("run", home / "mine.toml", "--out", home / "run", "--workers", 1).code == 0
    return home


@pytest.fixture
def ran(small_run, tmp_path, cache):
    """The folder of a copy of it, whose cache is the test's own."""
    shutil.copytree(small_run / "cache", cache)
    return shutil.copytree(small_run / "run", tmp_path / "run")


def test_the_command_writes_a_release_from_a_run_or_a_record(ran, leakbench, tmp_path):
    from diffusers import DDIMPipeline

    outcome = leakbench("export", ran, tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")
    (record,) = ran.glob("records/baseline__loss__DENOISER__*.json")
    assert leakbench("export", record, tmp_path / "same").code == 0
    weights = [(tmp_path / name / "unet/diffusion_pytorch_model.safetensors").read_bytes() for name in ("out", "same")]
    assert weights[0] == weights[1]
    images = DDIMPipeline.from_pretrained(tmp_path / "out")(batch_size=2, num_inference_steps=2).images
    assert [image.size for image in images] == [(16, 16)] * 2 and isinstance(images[0], Image.Image)


def test_what_cannot_be_exported_is_one_line(ran, leakbench, tmp_path, cache):
    cases = {
        ("--point", "reject_resample"): ["reject_resample", "only the raw network", "--raw"],
        ("--point", "baselin"): ["--point 'baselin'", "did you mean 'baseline'?"],
        ("--seed", 3): ["--seed 3", "it has 0"],
    }
    for words, said in cases.items():
        outcome = leakbench("export", ran, tmp_path / "out", *words)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert all(word in outcome.err for word in said), outcome.err
    assert leakbench("export", ran, tmp_path / "out", "--point", "reject_resample", "--raw").code == 0
    again = leakbench("export", ran, tmp_path / "out")
    assert again.code == 2 and "not an empty folder" in again.err
    for folder in (cache / "fits").iterdir():
        (folder / "manifest.json").unlink()
    gone = leakbench("export", ran, tmp_path / "other")
    command = json.loads((ran / "plan.json").read_text())["command"]
    assert gone.code == 2 and "weights are not in the cache" in gone.err and command in gone.err


def test_no_code_that_a_plan_names_runs(ran, leakbench, tmp_path):
    """Somebody else's run, whose plan trusts an adapter: not for its own release, and not for another beside it."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w').close()\ndef model(): return 1\n")
    plan = json.loads((ran / "plan.json").read_text())
    given = {"id": "theirs", "name": "pipeline", "path": f"module:{tmp_path / 'evil.py'}:model", "trust_code": True}
    above = {"id": "above", "name": "reject_resample", "base": "theirs"}
    plan["settings"]["defense"] = [*plan["settings"]["defense"], given, above]
    (ran / "plan.json").write_text(json.dumps(plan))
    for point in ("theirs", "above"):
        outcome = leakbench("export", ran, tmp_path / "out", "--point", point, "--raw")
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert "its model was given" in outcome.err and not (tmp_path / "marker").exists()
    assert leakbench("export", ran, tmp_path / "out", "--point", "baseline").code == 0
    assert not (tmp_path / "marker").exists()


def test_the_mlp_of_digits_is_one_line(finished, leakbench, tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKBENCH_CACHE", str(finished.cache))
    outcome = leakbench("export", finished.out, tmp_path / "out", "--point", "baseline")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "ResidualMLP" in outcome.err and not (tmp_path / "out").exists()


def test_labels_are_told(tmp_path):
    pipeline = build_pipeline(release_of(conditions=4))
    x, t = torch.zeros(2, 3, 16, 16), torch.tensor([1, 2])
    assert pipeline.unet(x, t, class_labels=torch.tensor([0, 3])).sample.shape == x.shape


def test_links_without_a_sampling_defense_need_no_raw():
    from leakbench.runtime import registry

    chain = (ChainLink("baseline", registry.find("defenses", "baseline")()),)
    check_exportable(release_of(), ReleaseSpec("baseline", chain, "baseline"), raw=False)
